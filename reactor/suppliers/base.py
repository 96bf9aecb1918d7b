"""The supplier strategy protocol, the quotes that it returns, and the list-price strategy that the shipped kinds share.

A strategy is a pure function of what is asked for and of the supplier's terms: it keeps no state, reads no clock and calls
nobody. Quotes are cached until terms, lead times or the fleet change, so equal arguments must give equal quotes.

Kinds that collect answers first (quotes of a market maker, an open call, a neighbour's surplus) fit in as follows: a round
is opened and closed by the engine, its answers become part of `CurrentTerms`, and `quote` returns None until there is an
answer to order by. Until rounds exist, such kinds are ordered from at list prices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from config.catalogue import SlotItem
from config.fleet import Supplier
from reactor.decision.lead_time import LeadTime
from reactor.decision.lead_time_stats import learned_lead_time
from reactor.state import SupplierRecord

PACKS_MAX = 4
"""Most packs ordered together at the price of single ones. Each further size costs one more evaluation of the timing."""
PRODUCT_PACKS_MAX = 24
"""Most packs in a product that is considered as a larger order."""
BUNDLE_PRICE_SHARE_MIN = 0.4
"""Least price of a multi-pack, as a share of its packs' single prices. A cheaper one is a product for something else."""
_SIZE_TOLERANCE = 1e-9
"""Two quantities closer than this, in the item's unit or as a share, are one size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A possible order. quantity in the item's unit; price in money, of all of it; lead_time as learned from deliveries.

    stated_days: 10 % and 90 % lead times in days as the supplier states them. sku None: the item's pack, without a product.
    """

    supplier: str
    sku: str | None
    quantity: float
    price: float
    lead_time: LeadTime
    stated_days: tuple[float, float]

    @property
    def lead_days(self) -> tuple[float, float]:
        """10 % and 90 % lead times in days, as learned."""
        return self.lead_time.p10_p90

    def pack_price(self, pack: float) -> float:
        """Price of one pack of `pack` units."""
        return self.price * pack / self.quantity

    def arrival_window_days(self) -> tuple[float, float]:
        """Days until the delivery: the earlier of the 10 % and the later of the 90 % lead times, learned and stated."""
        return min(self.lead_days[0], self.stated_days[0]), max(self.lead_days[1], self.stated_days[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteRequest:
    """What is asked for. quantity in the item's unit; None: the usual order, one pack."""

    item: SlotItem
    quantity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentTerms:
    """A supplier's terms in force: its row of the fleet, and the prices and lead times announced or learned since (record)."""

    supplier: Supplier
    record: SupplierRecord | None = None

    @property
    def stated_lead_days(self) -> tuple[float, float]:
        """10 % and 90 % lead times in days as the supplier states them: the latest announced ones, else the fleet's."""
        record = self.record
        return record.lead_days if record is not None and record.lead_days is not None else self.supplier.lead_time_days

    @property
    def announced_pack_price(self) -> float | None:
        """The latest price of a pack that the supplier announced; None: the fleet's prices hold."""
        return None if self.record is None else self.record.price

    def quote(self, sku: str | None, quantity: float, price: float) -> Quote:
        """A quote of this supplier with its lead times."""
        stated = self.stated_lead_days
        return Quote(
            supplier=self.supplier.id,
            sku=sku,
            quantity=quantity,
            price=price,
            lead_time=learned_lead_time(stated, None if self.record is None else self.record.learned),
            stated_days=stated,
        )


class SupplierStrategy(Protocol):
    """How suppliers of one kind are ordered from. The plug-in's class is called without arguments."""

    def quote(self, request: QuoteRequest, terms: CurrentTerms) -> Quote | None:
        """One order of what is asked for; None where this supplier can't be ordered from now."""
        ...

    def bundles(self, item: SlotItem, quote: Quote, terms: CurrentTerms) -> tuple[Quote, ...]:
        """Larger orders in place of `quote`, which is of one pack, by ascending size; in whole packs."""
        ...

    def other_sizes(self, quote: Quote, terms: CurrentTerms) -> tuple[Quote, ...]:
        """Other products that an offer may list beside `quote`."""
        ...


class ListPriceStrategy:
    """Orders at list prices: the announced price of a pack, else the fleet's price and products."""

    def quote(self, request: QuoteRequest, terms: CurrentTerms) -> Quote | None:
        """The usual order; for a quantity that the customer asked for, a product of that size, else whole packs."""
        item, quantity = request.item, request.quantity
        single = terms.quote(*_single_order(item, terms))
        if quantity is None:
            return single
        product = next((p for p in terms.supplier.products if abs(p.quantity - quantity) < _SIZE_TOLERANCE), None)
        if product is not None and abs(product.quantity - item.pack) > _SIZE_TOLERANCE:
            return terms.quote(product.sku, product.quantity, product.price)
        packs = max(1, -int(-(quantity / item.pack - _SIZE_TOLERANCE) // 1))
        whole = item.pack * packs
        price = round(single.pack_price(item.pack) * packs, 4)
        return terms.quote(single.sku if whole == single.quantity else None, whole, price)

    def bundles(self, item: SlotItem, quote: Quote, terms: CurrentTerms) -> tuple[Quote, ...]:
        """Several packs at the price of single ones, or a product of as many packs.

        Products of a supplier may be of other things: one counts only where its price a pack is like the quote's.
        """
        if abs(quote.quantity - item.pack) > _SIZE_TOLERANCE * item.pack:
            return ()
        found: dict[int, Quote] = {}
        for packs in range(2, PACKS_MAX + 1):
            price = round(quote.price * packs, 4)
            found[packs] = replace(quote, sku=None, quantity=item.pack * packs, price=price)
        listed = listed_pack_price(self, item, quote, terms)
        price_ratio = quote.price / listed if listed > 0.0 else 1.0
        for product in terms.supplier.products:
            packs = round(product.quantity / item.pack)
            price = round(product.price * price_ratio, 4)
            whole = packs > 1 and abs(product.quantity - packs * item.pack) < _SIZE_TOLERANCE * product.quantity
            if (
                whole
                and packs <= PRODUCT_PACKS_MAX
                and BUNDLE_PRICE_SHARE_MIN * quote.price <= price / packs <= quote.price
            ):
                found[packs] = replace(quote, sku=product.sku, quantity=product.quantity, price=price)
        return tuple(found[packs] for packs in sorted(found))

    def other_sizes(self, quote: Quote, terms: CurrentTerms) -> tuple[Quote, ...]:
        """The supplier's products of other sizes, in the order of the fleet file."""
        return tuple(
            replace(quote, sku=product.sku, quantity=product.quantity, price=product.price)
            for product in terms.supplier.products
            if product.sku != quote.sku and abs(product.quantity - quote.quantity) > _SIZE_TOLERANCE
        )


def listed_pack_price(strategy: SupplierStrategy, item: SlotItem, quote: Quote, terms: CurrentTerms) -> float:
    """Price of a pack by the fleet alone, without what was announced since; the quote's where there is no such price."""
    listed = strategy.quote(QuoteRequest(item=item), CurrentTerms(supplier=terms.supplier))
    return (quote if listed is None else listed).pack_price(item.pack)


def _single_order(item: SlotItem, terms: CurrentTerms) -> tuple[str | None, float, float]:
    """(sku, quantity, price) of one order: a pack, or the product nearest to it where the fleet has no price of a pack."""
    supplier, announced = terms.supplier, terms.announced_pack_price
    product = next((p for p in supplier.products if abs(p.quantity - item.pack) < _SIZE_TOLERANCE), None)
    if announced is not None:
        return (product.sku if product else None), item.pack, announced
    if product is not None:
        return product.sku, product.quantity, product.price
    if "price" not in supplier.model_fields_set and supplier.products:
        nearest = min(supplier.products, key=lambda p: (abs(p.quantity - item.pack), p.sku))
        return nearest.sku, nearest.quantity, nearest.price
    return None, item.pack, supplier.price
