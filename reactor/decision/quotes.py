"""What could be ordered, from whom, at what price and with what lead time: the terms in force, as quotes.

Terms said by event stand over the fleet file's; lead times are learned from deliveries (lead_time_stats.py). Quotes come in the
customer's order of suppliers. Choosing among them is the experiences'.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from config.catalogue import Catalogue, SlotItem
from config.fleet import Product, Supplier
from reactor.decision.lead_time import LeadTime, lead_time_distribution
from reactor.decision.lead_time_stats import learned_lead_time
from reactor.decision.price_model import PriceForecast, forecast_price
from reactor.i18n import translate
from reactor.state import State, SupplierRecord
from star.react import Option

LEAD_DAYS_DEFAULT = (1.0, 3.0)
"""Of an item without a supplier: how long it takes to buy it somewhere."""
LEAD_TIME_DEFAULT = lead_time_distribution(LEAD_DAYS_DEFAULT)
PACKS_MAX = 4
"""So many packs at most are ordered together at the price of single ones."""
PRODUCT_PACKS_MAX = 24
BUNDLE_PRICE_SHARE_MIN = 0.4
"""A product of so many packs, at no less than this share of their price, is taken for one of the item's."""
OPTIONS_MAX = 4
"""An offer is a choice, not a catalogue."""


PriceForecasts = dict[str, PriceForecast]
"""What a pack will cost, by supplier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A possible order. price: of the whole. lead: as learned; stated_days: in force by the supplier's word."""

    supplier: str
    sku: str | None
    quantity: float
    price: float
    lead_time: LeadTime
    stated_days: tuple[float, float]

    @property
    def lead_days(self) -> tuple[float, float]:
        """The 10 % and 90 % lead times as learned."""
        return self.lead_time.p10_p90

    def pack_price(self, pack: float) -> float:
        """The price of one pack."""
        return self.price * pack / self.quantity

    def arrival_window_days(self) -> tuple[float, float]:
        """From the earliest of the 10 % to the latest of the 90 % lead times: when it could arrive."""
        return min(self.lead_days[0], self.stated_days[0]), max(self.lead_days[1], self.stated_days[1])


def stated_lead_days(supplier: Supplier, record: SupplierRecord | None) -> tuple[float, float]:
    """The 10 % and 90 % lead times in force, in days, by the supplier's word."""
    return record.lead_days if record is not None and record.lead_days is not None else supplier.lead_time_days


def quotes_of(item: SlotItem, catalogue: Catalogue, state: State) -> tuple[Quote, ...]:
    """One order of the item from each accepted supplier, the customer's first choice first."""
    found = []
    for name in item.suppliers:
        supplier = catalogue.suppliers.get(name)
        if supplier is not None:
            record = state.suppliers.get(name)
            sku, quantity, price = _single_order(item, supplier, record)
            found.append(_quote(supplier, record, sku, quantity, price))
    return tuple(found)


def price_forecasts_of(
    item: SlotItem, quotes: tuple[Quote, ...], catalogue: Catalogue, state: State, at_ms: int
) -> PriceForecasts:
    """What a pack will cost, by the supplier of each of the quotes. Empty where no price was ever seen to move."""
    records = {quote.supplier: state.suppliers.get(quote.supplier) for quote in quotes}
    if all(record is None or record.price_first_ms is None for record in records.values()):
        return {}
    return {
        quote.supplier: forecast_price(
            _listed_pack_price(item, catalogue.suppliers[quote.supplier]),
            quote.pack_price(item.pack),
            records[quote.supplier],
            at_ms,
            item.price_max,
        )
        for quote in quotes
    }


def bundles_of(item: SlotItem, quote: Quote, catalogue: Catalogue) -> tuple[Quote, ...]:
    """Larger orders of the quote's supplier: its products of whole packs, and several packs at the price of as many.

    A supplier's products may be of other things, so that one counts only where its price a pack is like the quote's.
    """
    if abs(quote.quantity - item.pack) > 1e-9 * item.pack:
        return ()
    supplier, found = catalogue.suppliers[quote.supplier], {}
    for packs in range(2, PACKS_MAX + 1):
        price = round(quote.price * packs, 4)
        found[packs] = replace(quote, sku=None, quantity=item.pack * packs, price=price)
    moved = quote.price / _listed_pack_price(item, supplier) if _listed_pack_price(item, supplier) > 0.0 else 1.0
    for product in supplier.products:
        packs = round(product.quantity / item.pack)
        price = round(product.price * moved, 4)
        whole = packs > 1 and abs(product.quantity - packs * item.pack) < 1e-9 * product.quantity
        if (
            whole
            and packs <= PRODUCT_PACKS_MAX
            and BUNDLE_PRICE_SHARE_MIN * quote.price <= price / packs <= quote.price
        ):
            found[packs] = replace(quote, sku=product.sku, quantity=product.quantity, price=price)
    return tuple(found[packs] for packs in sorted(found))


def quotes_for(item: SlotItem, quantity: float, catalogue: Catalogue, state: State) -> tuple[Quote, ...]:
    """The same for a quantity that the customer asked for: a product of just that size, else whole packs."""
    packs = max(1, -int(-(quantity / item.pack - 1e-9) // 1))
    found = []
    for quote in quotes_of(item, catalogue, state):
        supplier = catalogue.suppliers[quote.supplier]
        product = next((p for p in supplier.products if abs(p.quantity - quantity) < 1e-9), None)
        if product is not None and abs(product.quantity - item.pack) > 1e-9:
            record = state.suppliers.get(quote.supplier)
            found.append(_quote(supplier, record, product.sku, product.quantity, product.price))
        else:
            whole = item.pack * packs
            price = round(quote.pack_price(item.pack) * packs, 4)
            sku = quote.sku if whole == quote.quantity else None
            found.append(_quote(supplier, state.suppliers.get(quote.supplier), sku, whole, price))
    return tuple(found)


def _listed_pack_price(item: SlotItem, supplier: Supplier) -> float:
    """The price of a pack in the fleet file."""
    _, quantity, price = _single_order(item, supplier, None)
    return price * item.pack / quantity


def _single_order(item: SlotItem, supplier: Supplier, record: SupplierRecord | None) -> tuple[str | None, float, float]:
    """(sku, quantity, price) of what one order delivers: a pack, or the nearest product where no pack has a price."""
    said = None if record is None else record.price
    product = next((p for p in supplier.products if abs(p.quantity - item.pack) < 1e-9), None)
    if said is not None:
        return (product.sku if product else None), item.pack, said
    if product is not None:
        return product.sku, product.quantity, product.price
    if "price" not in supplier.model_fields_set and supplier.products:
        nearest = min(supplier.products, key=lambda p: (abs(p.quantity - item.pack), p.sku))
        return nearest.sku, nearest.quantity, nearest.price
    return None, item.pack, supplier.price


def _quote(supplier: Supplier, record: SupplierRecord | None, sku: str | None, quantity: float, price: float) -> Quote:
    stated = stated_lead_days(supplier, record)
    return Quote(
        supplier=supplier.id,
        sku=sku,
        quantity=quantity,
        price=price,
        lead_time=learned_lead_time(stated, None if record is None else record.learned),
        stated_days=stated,
    )


def options_of(item: SlotItem, quotes: tuple[Quote, ...], catalogue: Catalogue, language: str) -> tuple[Option, ...]:
    """What an offer may choose among: one order of each supplier, best first, then their other products."""
    if not quotes:
        return ()
    options = [_option(quote, _reason(quote, quotes[0], language)) for quote in quotes]
    for quote in quotes:
        for product in catalogue.suppliers[quote.supplier].products:
            if product.sku != quote.sku and abs(product.quantity - quote.quantity) > 1e-9:
                options.append(_product_option(quote, product, language))
    return tuple(options[:OPTIONS_MAX])


def option_of(quote: Quote, language: str) -> Option:
    """The quote as the one choice."""
    return _option(quote, translate(language, "why_best"))


def _option(quote: Quote, why: str) -> Option:
    return Option(sku=quote.sku or "", supplier=quote.supplier, quantity=quote.quantity, price=quote.price, why=why)


def _reason(quote: Quote, best: Quote, language: str) -> str:
    if quote is best:
        return translate(language, "why_best")
    if quote.price / quote.quantity < best.price / best.quantity:
        return translate(language, "why_cheaper")
    return translate(language, "why_faster" if sum(quote.lead_days) < sum(best.lead_days) else "why_other")


def _product_option(quote: Quote, product: Product, language: str) -> Option:
    cheaper = product.price / product.quantity < quote.price / quote.quantity
    why = translate(language, "why_cheaper" if cheaper else "why_size")
    return Option(sku=product.sku, supplier=quote.supplier, quantity=product.quantity, price=product.price, why=why)
