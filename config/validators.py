"""Validators of single values of fleet files and profiles, called by pydantic after the type is checked.

Each returns the value or raises ValueError with what was expected. Checks across tables are config/catalogue.py's.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Literal, Protocol, TypeVar, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from config.channel_schemes import ANY_SCHEME, address_scheme, contact_schemes, endpoint_schemes
from config.shared.plugins import SUPPLIERS_GROUP, plugin_names
from config.shared.suggestions import did_you_mean, list_names

PURPOSES = ("replenishment", "maintenance")
"""Purposes that a customer can consent to."""
Language = Literal["en", "fr"]
LANGUAGES: tuple[str, ...] = get_args(Language)
"""Languages of messages and labels."""

_NAME = re.compile(r"[^\s/+#$][^\s/+#]*")
_T = TypeVar("_T")


class _HasSku(Protocol):
    @property
    def sku(self) -> str: ...


_Sold = TypeVar("_Sold", bound=_HasSku)


def composed_name(value: str) -> str:
    """A name without control characters, in Unicode's composed form (NFC), so that names that look alike are equal."""
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise ValueError("expected a name without control characters")
    if not unicodedata.is_normalized("NFC", value):
        raise ValueError("expected the composed form of Unicode (NFC), as two names that look alike must be equal")
    return value


def slot_name(value: str) -> str:
    """A name, or `*`."""
    if value != "*" and (not _NAME.fullmatch(value) or len(value) > 128):
        raise ValueError('expected "*" or a name without blanks, /, + or #')
    return value


def timezone(value: str) -> str:
    """A zone of the IANA time zone database."""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = did_you_mean(value, sorted(available_timezones()))
        raise ValueError(f'expected an IANA time zone such as "Europe/Paris"{hint}') from None
    return value


def day(value: str) -> str:
    """A date of the calendar."""
    try:
        date.fromisoformat(value)
    except ValueError:
        raise ValueError('expected a day of the calendar, such as "2026-08-01"') from None
    return value


def quiet_hours(value: tuple[str, str]) -> tuple[str, str]:
    """Start and end, which differ; the period may cross midnight."""
    if value[0] == value[1]:
        raise ValueError("expected a beginning and an end that differ (leave it out for no quiet hours)")
    return value


def away_period(value: tuple[str, str]) -> tuple[str, str]:
    """First and last day, in that order."""
    if value[1] < value[0]:
        raise ValueError("expected the first day before the last")
    return value


def lead_time(value: tuple[float, float]) -> tuple[float, float]:
    """10 % and 90 % quantiles in ascending order."""
    if value[1] < value[0]:
        raise ValueError("expected the 10 % quantile first, not above the 90 % quantile")
    return value


def unique_values(values: tuple[_T, ...]) -> tuple[_T, ...]:
    """A list without duplicates."""
    for value, count in Counter(values).items():
        if count > 1:
            raise ValueError(f"expected each once, and {value!r} is there {count} times")
    return values


def unique_skus(products: tuple[_Sold, ...]) -> tuple[_Sold, ...]:
    """Products with a sku each."""
    unique_values(tuple(product.sku for product in products))
    return products


def consent(value: str) -> str:
    """One of PURPOSES."""
    if value not in PURPOSES:
        raise ValueError(f"expected one of {', '.join(PURPOSES)}{did_you_mean(value, PURPOSES)}")
    return value


@lru_cache(maxsize=10_000)
def channel(value: str) -> str:
    """`mqtt`, an address of an installed channel, or a URL that Apprise can send to."""
    if value == "mqtt" or address_scheme(value) in contact_schemes() - {ANY_SCHEME}:
        return value
    from apprise import Apprise  # a third of a second to load its many services, and most fleets use MQTT alone

    if Apprise.instantiate(value, suppress_exceptions=True) is None:
        installed = list_names(contact_schemes() - {ANY_SCHEME})
        raise ValueError(
            'expected "mqtt" or an Apprise URL such as "mailto://user:password@example.org"'
            f" (schemes of installed channels: {installed})"
        )
    return value


def endpoint(value: str) -> str:
    """Where orders go: over TLS, or not beyond this machine; no secrets in the URL, as URLs are logged.

    Addresses of plug-ins' schemes are the plug-in's to check.
    """
    if value in ("mqtt", "log"):
        return value
    expected = (
        f'expected "log", "mqtt" or an https URL (schemes of installed channels: {list_names(endpoint_schemes())})'
    )
    if address_scheme(value) not in ("http", "https") and address_scheme(value) in endpoint_schemes() - {"mqtt", "log"}:
        return value
    try:
        url = urlsplit(value)
        host = url.hostname or ""
        port_ok = url.port is None or url.port > 0
    except ValueError:
        raise ValueError(expected) from None
    if url.scheme not in ("http", "https") or not host or not port_ok or any(c.isspace() for c in value):
        raise ValueError(expected)
    if url.username is not None or url.password is not None:
        raise ValueError("expected no user or password in the URL (webhooks are signed with `secret`)")
    if _is_unroutable(host):
        raise ValueError(
            "expected a host that orders can be sent to, not a link-local, multicast or unspecified address"
        )
    if url.scheme == "http" and not _is_loopback(host):
        raise ValueError("expected https, as plain http shows orders to anyone on the way (it is allowed on loopback)")
    return value


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _is_unroutable(host: str) -> bool:
    address = _address(host)
    return address is not None and (address.is_link_local or address.is_multicast or address.is_unspecified)


def webhook_secret(value: str) -> str:
    """A secret of Standard Webhooks: `whsec_` and base64."""
    kind, _, encoded = value.partition("_")
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if kind != "whsec" or not key:
        raise ValueError("expected `whsec_` and the secret in base64, as Standard Webhooks has it")
    return value


def supplier_kind(value: str) -> str:
    """The name of an installed kind of suppliers."""
    known = plugin_names(SUPPLIERS_GROUP)
    if value not in known:
        raise ValueError(f"expected one of {list_names(known)}{did_you_mean(value, known)}")
    return value


def label(value: Mapping[str, str]) -> dict[str, str]:
    """Texts by language, for languages of LANGUAGES."""
    unknown: Sequence[str] = sorted(value.keys() - set(LANGUAGES))
    if unknown:
        raise ValueError(f"expected the languages {', '.join(LANGUAGES)}, not {unknown[0]!r}")
    return dict(value)
