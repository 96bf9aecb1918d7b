"""The registry of supplier strategies: entry points of the group `starloop.suppliers`, by the kind that they are named after.

The kinds that ship are entry points of Starloop's own distribution.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from config.shared.plugins import SUPPLIERS_GROUP, load, plugin_error
from config.shared.suggestions import list_names
from reactor.suppliers.base import Quote, SupplierStrategy
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


def checked_quote(kind: str, returned: object) -> Quote | None:
    """What `quote` of the kind's strategy returned. Raises ConfigError, naming the plug-in, for anything but a Quote or None."""
    if returned is None or isinstance(returned, Quote):
        return returned
    raise _wrong_result(kind, "quote", returned, "a {quote} or None")


def checked_quotes(kind: str, method: str, returned: object) -> tuple[Quote, ...]:
    """The quotes that `method` of the kind's strategy returned. Raises ConfigError, naming the plug-in, for anything else."""
    expected = "an iterable of {quote}"
    if not isinstance(returned, Iterable):
        raise _wrong_result(kind, method, returned, expected)
    quotes = tuple(returned)
    for quote in quotes:
        if not isinstance(quote, Quote):
            raise _wrong_result(kind, method, quote, expected)
    return quotes


def _wrong_result(kind: str, method: str, found: object, expected: str) -> ConfigError:
    shown = "None" if found is None else f"a {type(found).__name__}"
    expected = expected.format(quote=f"{Quote.__module__}.{Quote.__qualname__}")
    return plugin_error(SUPPLIERS_GROUP, kind, f"returned {shown} from {method}: expected {expected}")
