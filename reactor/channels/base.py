"""The channel protocol: what an entry point of the group `starloop.channels` provides, and what it is given.

An address is a supplier's `endpoint` or an entry of a customer's `channels`. Its scheme, the text before the first colon, or
all of it where there is none ("mqtt", "log"), selects the channel; reactor/delivery/channel_router.py does so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from config.channel_schemes import ANY_SCHEME, AddressSchemes, address_scheme
from config.fleet import Customer, Supplier
from star.ports import Channel, Clock
from stream.transports.log_client import LogClient

__all__ = ["ANY_SCHEME", "AddressSchemes", "Channel", "ChannelEnvironment", "ChannelKind", "address_scheme"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelEnvironment:
    """What a channel may use of the service.

    supplier_of, customer_of: a row of the fleet in force by its id, None where there is none. label_of: the customer's name
    for an item, from (`device/name`, language). clock: the machine's clock, also where the service runs on sped-up time.
    data_dir: the service's data directory. send_timeout_s: time limit of one attempt. console_url: address of the console as
    customers reach it, None where they can't.
    """

    log: LogClient
    clock: Clock
    data_dir: Path
    supplier_of: Callable[[str], Supplier | None]
    customer_of: Callable[[str], Customer | None]
    label_of: Callable[[str, str], str]
    send_timeout_s: float
    console_url: str | None = None


class ChannelKind(AddressSchemes, Protocol):
    """A kind of channel: the schemes that it serves, and how to open it. The plug-in's class is called without arguments."""

    def open(self, environment: ChannelEnvironment) -> Channel:
        """The channel. Called once for each process, inside its event loop."""
        ...
