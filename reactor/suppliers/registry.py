"""The registry of supplier strategies: entry points of the group `starloop.suppliers`, by the kind that they are named after.

The kinds that ship are entry points of Starloop's own distribution.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from config.plugins import SUPPLIERS_GROUP, load
from config.suggestions import list_names
from reactor.suppliers.base import SupplierStrategy
from star.errors import ConfigError, Problem


@cache
def supplier_strategies() -> Mapping[str, SupplierStrategy]:
    """The strategy of every installed kind. Raises ConfigError for a faulty plug-in."""
    return load(SUPPLIERS_GROUP, SupplierStrategy)  # type: ignore[type-abstract]


def strategy_of(kind: str) -> SupplierStrategy:
    """The strategy of suppliers of this kind. Raises ConfigError for a kind that is not installed."""
    strategies = supplier_strategies()
    if kind not in strategies:
        message = f"is {kind!r}: expected an installed kind of suppliers, one of {list_names(strategies)}"
        raise ConfigError([Problem(file="fleet", line=None, field="suppliers.kind", message=message)])
    return strategies[kind]
