"""The router: sends a reaction to a target of the outbox by the channel that serves the target's address.

Targets name a receiver (routes.py); addresses are looked up here at each attempt, so that a corrected endpoint or a changed
choice of the customer applies at once, also to what is waiting. Channels are selected by the scheme of the address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from config.fleet import Customer, Supplier
from config.plugins import CHANNELS_GROUP, load
from reactor.channels.base import ANY_SCHEME, Channel, ChannelEnvironment, ChannelKind, address_scheme
from reactor.delivery.routes import MQTT, RECORD_ONLY, customer_of_target, pushed_channels, supplier_of_target
from star.errors import ConfigError, InputError, Problem, Unavailable
from star.react import Reaction

CONTACT_TIMEOUT_S = 30.0
"""Time limit of one attempt at one of a customer's channels, before the next of their channels is tried."""
_SCHEME_CHARACTERS_SHOWN = 20
"""Characters of a scheme in an error: what has no colon may be all secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTable:
    """Open channels by the schemes that they serve: of suppliers' endpoints and of customers' channels."""

    endpoints: Mapping[str, Channel] = field(default_factory=dict)
    contacts: Mapping[str, Channel] = field(default_factory=dict)


class ChannelRouter:
    """Sends to targets; raises Unavailable where a retry may succeed and InputError where it can't. Close it after use."""

    def __init__(
        self,
        channels: ChannelTable,
        *,
        supplier_of: Callable[[str], Supplier | None],
        customer_of: Callable[[str], Customer | None],
    ) -> None:
        self._channels = channels
        self._supplier_of = supplier_of
        self._customer_of = customer_of

    @classmethod
    def open(cls, environment: ChannelEnvironment) -> ChannelRouter:
        """A router with every installed channel. Raises ConfigError for a faulty plug-in or a scheme served twice."""
        kinds: dict[str, ChannelKind] = load(CHANNELS_GROUP, ChannelKind)  # type: ignore[type-abstract]
        channels = open_channels(kinds, environment)
        return cls(channels, supplier_of=environment.supplier_of, customer_of=environment.customer_of)

    async def close(self) -> None:
        """Closes the channels."""
        opened = {id(one): one for one in (*self._channels.endpoints.values(), *self._channels.contacts.values())}
        for channel in opened.values():
            await channel.close()

    async def send(self, reaction: Reaction, target: str) -> None:
        """Returns when the target's receiver has the reaction."""
        if supplier_of_target(target) is not None:
            await self._send_to_supplier(reaction)
        elif customer_of_target(target) is not None:
            await self._send_to_customer(reaction)
        else:
            await self._channels.endpoints[MQTT].send(reaction, MQTT)

    async def _send_to_supplier(self, reaction: Reaction) -> None:
        supplier = None if reaction.supplier is None else self._supplier_of(reaction.supplier)
        if supplier is None:
            raise InputError(f"{reaction.id}: supplier {reaction.supplier!r} is not in the fleet any more")
        if supplier.endpoint in (MQTT, RECORD_ONLY):
            return  # The endpoint was changed since: this reaction is on the reactions topic and recorded already.
        channel = self._channels.endpoints.get(address_scheme(supplier.endpoint))
        if channel is None:
            known = ", ".join(sorted(self._channels.endpoints))
            raise InputError(f"{supplier.id}'s endpoint is {supplier.endpoint!r}: expected a scheme of {known}")
        await channel.send(reaction, supplier.endpoint)

    async def _send_to_customer(self, reaction: Reaction) -> None:
        """Tries the customer's channels in their order until one accepts the reaction."""
        customer = self._customer_of(reaction.customer)
        addresses = () if customer is None else pushed_channels(customer)
        if customer is None or not addresses:
            raise InputError(f"{reaction.id}: customer {reaction.customer!r} has no channel to be reached on any more")
        failed: list[str] = []
        unusable: list[str] = []
        for address in addresses:
            scheme = address_scheme(address)
            channel = self._channels.contacts.get(scheme) or self._channels.contacts.get(ANY_SCHEME)
            try:
                if channel is None:
                    raise InputError(f"no installed channel serves {scheme}")
                async with asyncio.timeout(CONTACT_TIMEOUT_S):
                    await channel.send(reaction, address)
                return
            except (Unavailable, TimeoutError):
                failed.append(scheme[:_SCHEME_CHARACTERS_SHOWN])
            except InputError:
                unusable.append(scheme[:_SCHEME_CHARACTERS_SHOWN])
        if failed:
            raise Unavailable(f"none of {customer.id}'s channels took it: {', '.join(failed)}")
        raise InputError(f"{customer.id}'s channels can't be used, or refuse it: {', '.join(unusable)}")


def open_channels(kinds: Mapping[str, ChannelKind], environment: ChannelEnvironment) -> ChannelTable:
    """Opens the channels of these plug-ins. Raises ConfigError where two serve one scheme."""
    endpoints: dict[str, Channel] = {}
    contacts: dict[str, Channel] = {}
    for name, kind in kinds.items():
        channel = kind.open(environment)
        for table, schemes in ((endpoints, kind.endpoint_schemes), (contacts, kind.contact_schemes)):
            taken = schemes & table.keys()
            if taken:
                message = f"serves {', '.join(sorted(taken))}, as another channel does: expected schemes of its own"
                raise ConfigError(
                    [Problem(file="installed plug-ins", line=None, field=f"{CHANNELS_GROUP}.{name}", message=message)]
                )
            table.update(dict.fromkeys(schemes, channel))
    return ChannelTable(endpoints=endpoints, contacts=contacts)
