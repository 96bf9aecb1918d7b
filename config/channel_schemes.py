"""Address schemes of installed channels: which `endpoint` of a supplier and which `channels` of a customer are known.

Only the schemes are read here, so that a fleet file can be checked; sending is reactor/channels.
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

from config.plugins import CHANNELS_GROUP, load

ANY_SCHEME = "*"
"""In `contact_schemes`: every scheme that no other channel declares."""


class AddressSchemes(Protocol):
    """The part of a channel plug-in that says which addresses it serves. Schemes are in lower case.

    endpoint_schemes: of suppliers' endpoints. contact_schemes: of customers' channels.
    """

    @property
    def endpoint_schemes(self) -> frozenset[str]:
        """Schemes of suppliers' endpoints, such as `https`."""
        ...

    @property
    def contact_schemes(self) -> frozenset[str]:
        """Schemes of customers' channels, such as `mailto`."""
        ...


def address_scheme(address: str) -> str:
    """The scheme of an address, in lower case: `https` of `https://…`, `mqtt` of `mqtt`."""
    return address.partition(":")[0].lower()


@cache
def endpoint_schemes() -> frozenset[str]:
    """Schemes of suppliers' endpoints that an installed channel serves. Raises ConfigError for a faulty plug-in."""
    return frozenset[str]().union(*(kind.endpoint_schemes for kind in _installed().values()))


@cache
def contact_schemes() -> frozenset[str]:
    """Schemes of customers' channels that an installed channel declares. Raises ConfigError for a faulty plug-in."""
    return frozenset[str]().union(*(kind.contact_schemes for kind in _installed().values()))


def _installed() -> dict[str, AddressSchemes]:
    return load(CHANNELS_GROUP, AddressSchemes)  # type: ignore[type-abstract]
