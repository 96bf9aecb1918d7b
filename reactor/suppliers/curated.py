"""A curated choice: at most three quotes that differ in what they are good at, each with its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reactor.suppliers.quote import Quote, Want
from reactor.suppliers.retailer import cost_per_day
from star.react import Option

OPTIONS_MAX = 3
"""More choices than this are no help."""

_WHY: dict[str, dict[str, str]] = {
    "en": {
        "suits": "Costs the least for the way you use it.",
        "soonest": "Comes soonest.",
        "outlay": "Costs the least today.",
        "only": "The one that can be had.",
    },
    "fr": {
        "suits": "Le moins cher pour votre consommation.",
        "soonest": "Livré le plus tôt.",
        "outlay": "Le moins cher aujourd’hui.",
        "only": "Le seul disponible.",
    },
}


def curate(offered: Sequence[Quote], want: Want, language: str) -> tuple[Option, ...]:
    """Options of an offer, best first: what suits best, what comes soonest, what costs least today; each once.

    offered: of all suppliers that the customer accepts, best supplier first. `sku` is empty where there is nothing to
    choose.
    """
    if len(offered) == 1:
        return (_option(offered[0], _WHY[language]["only"]),)
    ranks: dict[str, Callable[[Quote], float]] = {
        "suits": lambda quote: round(cost_per_day(quote, want), 9),
        "soonest": lambda quote: quote.lead_time_days[1],
        "outlay": lambda quote: quote.price,
    }
    chosen: dict[tuple[str, str | None], Option] = {}
    for reason, rank in ranks.items():
        best = min(offered, key=lambda quote: (rank(quote), cost_per_day(quote, want)), default=None)
        if best is not None:
            chosen.setdefault((best.supplier, best.sku), _option(best, _WHY[language][reason]))
    return tuple(chosen.values())[:OPTIONS_MAX]


def _option(quote: Quote, why: str) -> Option:
    return Option(sku=quote.sku or "", supplier=quote.supplier, quantity=quote.quantity, price=quote.price, why=why)
