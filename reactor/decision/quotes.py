"""Quotes for an item: what could be ordered, from which supplier, at what price and with which lead time.

Each supplier's quote is made by the strategy of its kind (reactor/suppliers). Quotes come in the customer's order of
suppliers; choosing among them is reactor/decision/sourcing.py and the experiences.
"""

from __future__ import annotations

from config.catalogue import Catalogue, SlotItem
from config.fleet import Supplier
from reactor.decision.lead_time import lead_time_distribution
from reactor.decision.price_model import PriceForecast, forecast_price
from reactor.i18n import translate
from reactor.state import State, SupplierRecord
from reactor.suppliers.base import CurrentTerms, Quote, QuoteRequest, listed_pack_price
from reactor.suppliers.registry import checked_quote, checked_quotes, strategy_of
from star.react import Option

__all__ = [
    "LEAD_DAYS_DEFAULT",
    "LEAD_TIME_DEFAULT",
    "PriceForecasts",
    "Quote",
    "bundles_of",
    "option_of",
    "options_of",
    "price_forecasts_of",
    "quotes_for",
    "quotes_of",
    "stated_lead_days",
]

LEAD_DAYS_DEFAULT = (1.0, 3.0)
"""10 % and 90 % lead times in days of an item without a supplier: the time to buy it somewhere. The fleet file's default."""
LEAD_TIME_DEFAULT = lead_time_distribution(LEAD_DAYS_DEFAULT)
"""The same as a distribution."""
OPTIONS_MAX = 4
"""Most options of an offer. More would leave the choice to the customer that the offer is to make easy."""


PriceForecasts = dict[str, PriceForecast]
"""Forecast of the price of a pack, by supplier."""


def stated_lead_days(supplier: Supplier, record: SupplierRecord | None) -> tuple[float, float]:
    """10 % and 90 % lead times in days as the supplier states them: the latest announced ones, else the fleet's."""
    return CurrentTerms(supplier=supplier, record=record).stated_lead_days


def quotes_of(item: SlotItem, catalogue: Catalogue, state: State) -> tuple[Quote, ...]:
    """The usual order from each supplier that the customer accepts, in their order."""
    return _quotes(QuoteRequest(item=item), catalogue, state)


def quotes_for(item: SlotItem, quantity: float, catalogue: Catalogue, state: State) -> tuple[Quote, ...]:
    """An order of a quantity that the customer asked for, from each supplier that they accept, in their order."""
    return _quotes(QuoteRequest(item=item, quantity=quantity), catalogue, state)


def bundles_of(item: SlotItem, quote: Quote, catalogue: Catalogue) -> tuple[Quote, ...]:
    """Larger orders from the quote's supplier, in whole packs, by ascending size."""
    supplier = catalogue.suppliers[quote.supplier]
    found = strategy_of(supplier.kind).bundles(item, quote, CurrentTerms(supplier=supplier))
    return checked_quotes(supplier.kind, "bundles", found)


def price_forecasts_of(
    item: SlotItem, quotes: tuple[Quote, ...], catalogue: Catalogue, state: State, at_ms: int
) -> PriceForecasts:
    """Forecast of the price of a pack by the supplier of each quote; empty where no supplier has ever announced a price."""
    records = {quote.supplier: state.suppliers.get(quote.supplier) for quote in quotes}
    if all(record is None or record.price_first_ms is None for record in records.values()):
        return {}
    return {
        quote.supplier: forecast_price(
            _listed_pack_price(item, quote, catalogue),
            quote.pack_price(item.pack),
            records[quote.supplier],
            at_ms,
            item.price_max,
        )
        for quote in quotes
    }


def _quotes(request: QuoteRequest, catalogue: Catalogue, state: State) -> tuple[Quote, ...]:
    found: list[Quote] = []
    for name in request.item.suppliers:
        supplier = catalogue.suppliers.get(name)
        if supplier is not None:
            terms = CurrentTerms(supplier=supplier, record=state.suppliers.get(name))
            quote = checked_quote(supplier.kind, strategy_of(supplier.kind).quote(request, terms))
            if quote is not None:
                found.append(quote)
    return tuple(found)


def _listed_pack_price(item: SlotItem, quote: Quote, catalogue: Catalogue) -> float:
    supplier = catalogue.suppliers[quote.supplier]
    return listed_pack_price(strategy_of(supplier.kind), item, quote, CurrentTerms(supplier=supplier))


def options_of(item: SlotItem, quotes: tuple[Quote, ...], catalogue: Catalogue, language: str) -> tuple[Option, ...]:
    """Options of an offer: one order from each supplier, in the customer's order, then their other products."""
    if not quotes:
        return ()
    options = [_option(quote, _reason(quote, quotes[0], language)) for quote in quotes]
    for quote in quotes:
        supplier = catalogue.suppliers[quote.supplier]
        sizes = strategy_of(supplier.kind).other_sizes(quote, CurrentTerms(supplier=supplier))
        for other in checked_quotes(supplier.kind, "other_sizes", sizes):
            options.append(_option(other, _size_reason(other, quote, language)))
    return tuple(options[:OPTIONS_MAX])


def option_of(quote: Quote, language: str) -> Option:
    """The quote as the only option."""
    return _option(quote, translate(language, "why_best"))


def _option(quote: Quote, why: str) -> Option:
    return Option(sku=quote.sku or "", supplier=quote.supplier, quantity=quote.quantity, price=quote.price, why=why)


def _reason(quote: Quote, best: Quote, language: str) -> str:
    if quote is best:
        return translate(language, "why_best")
    if quote.price / quote.quantity < best.price / best.quantity:
        return translate(language, "why_cheaper")
    return translate(language, "why_faster" if sum(quote.lead_days) < sum(best.lead_days) else "why_other")


def _size_reason(other: Quote, quote: Quote, language: str) -> str:
    cheaper = other.price / other.quantity < quote.price / quote.quantity
    return translate(language, "why_cheaper" if cheaper else "why_size")
