"""What could be ordered, from whom, at what price and with what lead time: the terms in force, as quotes.

Terms said by event stand over the fleet file's; lead times are learned from deliveries (learning.py). Quotes come in the
customer's order of suppliers. Choosing among them is the experiences'.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from config.fleet import Product, Supplier
from config.resolve import Catalogue, SlotItem
from reactor.lead_time import LeadTime, lead_time
from reactor.learning import learned_lead_time
from reactor.prices import PriceAhead, price_ahead
from reactor.state import State, SupplierMemory
from reactor.texts import say
from star.react import Option

LEAD_DAYS_DEFAULT = (1.0, 3.0)
"""Of an item without a supplier: how long it takes to buy it somewhere."""
LEAD_TIME_DEFAULT = lead_time(LEAD_DAYS_DEFAULT)
PACKS_MAX = 4
"""So many packs at most are ordered together at the price of single ones."""
PRODUCT_PACKS_MAX = 24
ALIKE_SHARE = 0.4
"""A product of so many packs, at no less than this share of their price, is taken for one of the item's."""
OPTIONS_MAX = 4
"""An offer is a choice, not a catalogue."""


Outlook = dict[str, PriceAhead]
"""What a pack will cost, by supplier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A possible order. price: of the whole. lead: as learned; stated_days: in force by the supplier's word."""

    supplier: str
    sku: str | None
    quantity: float
    price: float
    lead: LeadTime
    stated_days: tuple[float, float]

    @property
    def lead_days(self) -> tuple[float, float]:
        """The 10 % and 90 % lead times as learned."""
        return self.lead.outer

    def pack_price(self, pack: float) -> float:
        """The price of one pack."""
        return self.price * pack / self.quantity

    def widest_days(self) -> tuple[float, float]:
        """From the earliest of the 10 % to the latest of the 90 % lead times: when it could arrive."""
        return min(self.lead_days[0], self.stated_days[0]), max(self.lead_days[1], self.stated_days[1])


def stated_lead_days(supplier: Supplier, memory: SupplierMemory | None) -> tuple[float, float]:
    """The 10 % and 90 % lead times in force, in days, by the supplier's word."""
    return memory.lead_days if memory is not None and memory.lead_days is not None else supplier.lead_time_days


def quotes_of(item: SlotItem, catalogue: Catalogue, state: State) -> tuple[Quote, ...]:
    """One order of the item from each accepted supplier, the customer's first choice first."""
    found = []
    for name in item.suppliers:
        supplier = catalogue.suppliers.get(name)
        if supplier is not None:
            memory = state.suppliers.get(name)
            sku, quantity, price = _one_order(item, supplier, memory)
            found.append(_quote(supplier, memory, sku, quantity, price))
    return tuple(found)


def outlook_of(item: SlotItem, quotes: tuple[Quote, ...], catalogue: Catalogue, state: State, at_ms: int) -> Outlook:
    """What a pack will cost, by the supplier of each of the quotes. Empty where no price was ever seen to move."""
    memories = {quote.supplier: state.suppliers.get(quote.supplier) for quote in quotes}
    if all(memory is None or memory.price_first_ms is None for memory in memories.values()):
        return {}
    return {
        quote.supplier: price_ahead(
            _listed(item, catalogue.suppliers[quote.supplier]),
            quote.pack_price(item.pack),
            memories[quote.supplier],
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
    moved = quote.price / _listed(item, supplier) if _listed(item, supplier) > 0.0 else 1.0
    for product in supplier.products:
        packs = round(product.quantity / item.pack)
        price = round(product.price * moved, 4)
        whole = packs > 1 and abs(product.quantity - packs * item.pack) < 1e-9 * product.quantity
        if whole and packs <= PRODUCT_PACKS_MAX and ALIKE_SHARE * quote.price <= price / packs <= quote.price:
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
            memory = state.suppliers.get(quote.supplier)
            found.append(_quote(supplier, memory, product.sku, product.quantity, product.price))
        else:
            whole = item.pack * packs
            price = round(quote.pack_price(item.pack) * packs, 4)
            sku = quote.sku if whole == quote.quantity else None
            found.append(_quote(supplier, state.suppliers.get(quote.supplier), sku, whole, price))
    return tuple(found)


def _listed(item: SlotItem, supplier: Supplier) -> float:
    """The price of a pack in the fleet file."""
    _, quantity, price = _one_order(item, supplier, None)
    return price * item.pack / quantity


def _one_order(item: SlotItem, supplier: Supplier, memory: SupplierMemory | None) -> tuple[str | None, float, float]:
    """(sku, quantity, price) of what one order delivers: a pack, or the nearest product where no pack has a price."""
    said = None if memory is None else memory.price
    product = next((p for p in supplier.products if abs(p.quantity - item.pack) < 1e-9), None)
    if said is not None:
        return (product.sku if product else None), item.pack, said
    if product is not None:
        return product.sku, product.quantity, product.price
    if "price" not in supplier.model_fields_set and supplier.products:
        nearest = min(supplier.products, key=lambda p: (abs(p.quantity - item.pack), p.sku))
        return nearest.sku, nearest.quantity, nearest.price
    return None, item.pack, supplier.price


def _quote(supplier: Supplier, memory: SupplierMemory | None, sku: str | None, quantity: float, price: float) -> Quote:
    stated = stated_lead_days(supplier, memory)
    return Quote(
        supplier=supplier.id,
        sku=sku,
        quantity=quantity,
        price=price,
        lead=learned_lead_time(stated, None if memory is None else memory.learned),
        stated_days=stated,
    )


def options_of(item: SlotItem, quotes: tuple[Quote, ...], catalogue: Catalogue, language: str) -> tuple[Option, ...]:
    """What an offer may choose among: one order of each supplier, best first, then their other products."""
    if not quotes:
        return ()
    options = [_option(quote, _why(quote, quotes[0], language)) for quote in quotes]
    for quote in quotes:
        for product in catalogue.suppliers[quote.supplier].products:
            if product.sku != quote.sku and abs(product.quantity - quote.quantity) > 1e-9:
                options.append(_of_product(quote, product, language))
    return tuple(options[:OPTIONS_MAX])


def option_of(quote: Quote, language: str) -> Option:
    """The quote as the one choice."""
    return _option(quote, say(language, "why_best"))


def _option(quote: Quote, why: str) -> Option:
    return Option(sku=quote.sku or "", supplier=quote.supplier, quantity=quote.quantity, price=quote.price, why=why)


def _why(quote: Quote, best: Quote, language: str) -> str:
    if quote is best:
        return say(language, "why_best")
    if quote.price / quote.quantity < best.price / best.quantity:
        return say(language, "why_cheaper")
    return say(language, "why_faster" if sum(quote.lead_days) < sum(best.lead_days) else "why_other")


def _of_product(quote: Quote, product: Product, language: str) -> Option:
    cheaper = product.price / product.quantity < quote.price / quote.quantity
    why = say(language, "why_cheaper" if cheaper else "why_size")
    return Option(sku=product.sku, supplier=quote.supplier, quantity=product.quantity, price=product.price, why=why)
