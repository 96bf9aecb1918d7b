"""The router: the address in force selects the channel, for suppliers and customers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config.fleet import Customer, Supplier
from config.plugins import CHANNELS_GROUP, load
from reactor.channels.base import ChannelEnvironment, ChannelKind
from reactor.channels.log import LogChannel
from reactor.channels.mqtt import MqttKind
from reactor.delivery.channel_router import ChannelRouter, ChannelTable, open_channels
from star.errors import ConfigError, InputError
from star.react import Reaction, ReactionType
from tests.support.delivery_fleet import ManualClock, RecordingChannel, fleet_of, reaction_of, router_of

SUPPLIER, CUSTOMER = "supplier:acme", "customer:maria"


class NeverCalled:
    """A channel that must not be used."""

    async def send(self, reaction: Reaction, address: str) -> None:
        raise AssertionError(f"{reaction.id} was sent to {address}")

    async def close(self) -> None:
        pass


def environment(data_dir: Path) -> ChannelEnvironment:
    """An environment without a log, which no channel uses before it sends."""
    nothing: Any = None
    return ChannelEnvironment(
        log=nothing,
        clock=ManualClock(),
        data_dir=data_dir,
        supplier_of=lambda _: None,
        customer_of=lambda _: None,
        label_of=lambda item, _: item,
        send_timeout_s=1.0,
    )


async def test_each_target_goes_to_its_own_channel() -> None:
    """The topic by mqtt, an order to its supplier by webhook, an offer to the customer by notify."""
    mqtt, webhook, notify = RecordingChannel(), RecordingChannel(), RecordingChannel()
    router = router_of(fleet_of(channels=("json://127.0.0.1",)), mqtt=mqtt, webhook=webhook, notify=notify)
    order, offer = reaction_of(), reaction_of(ReactionType.OFFER_MADE)
    await router.send(order, "mqtt")
    await router.send(order, SUPPLIER)
    await router.send(offer, CUSTOMER)
    assert [channel.sent for channel in (mqtt, webhook, notify)] == [[order], [order], [offer]]


@pytest.mark.parametrize("endpoint", ["mqtt", "log"])
async def test_an_endpoint_changed_to_mqtt_or_log_needs_no_call(endpoint: str) -> None:
    """An order that waited for the old address is on the reactions topic, and recorded, already."""
    await router_of(fleet_of(endpoint), webhook=NeverCalled(), mqtt=NeverCalled()).send(reaction_of(), SUPPLIER)


async def test_a_supplier_that_left_the_fleet_or_has_an_unknown_scheme_gets_nothing() -> None:
    """No retry would help; the error names the supplier and the schemes that are served."""
    with pytest.raises(InputError, match="'gone' is not in the fleet any more"):
        await router_of(fleet_of()).send(reaction_of(supplier="gone"), "supplier:gone")
    ftp = Supplier.model_construct(id="acme", endpoint="ftp://acme.example/")
    router = ChannelRouter(
        ChannelTable(endpoints={"https": NeverCalled()}), supplier_of=lambda _: ftp, customer_of=lambda _: None
    )
    with pytest.raises(InputError, match=r"acme's endpoint is 'ftp://acme.example/': expected a scheme of https"):
        await router.send(reaction_of(), SUPPLIER)


async def test_a_customers_address_without_a_channel_tells_no_secret() -> None:
    """What has no colon may be a secret as a whole, so that only its beginning is shown."""
    maria = Customer.model_construct(id="maria", channels=("hunter2" * 10,))
    router = ChannelRouter(ChannelTable(), supplier_of=lambda _: None, customer_of=lambda _: maria)
    with pytest.raises(InputError, match=r"can't be used, or refuse it: hunter2hunter2hunter$"):
        await router.send(reaction_of(ReactionType.OFFER_MADE), CUSTOMER)


async def test_the_channels_that_ship_come_by_entry_points(tmp_path: Path) -> None:
    """Each of the four serves its schemes; the rest of customers' addresses is Apprise's."""
    kinds: dict[str, ChannelKind] = load(CHANNELS_GROUP, ChannelKind)  # type: ignore[type-abstract]
    assert {"log", "mqtt", "notify", "webhook"} <= kinds.keys()
    table = open_channels(kinds, environment(tmp_path))
    assert {"http", "https", "log", "mqtt"} <= table.endpoints.keys()
    assert {"*", "mqtt"} <= table.contacts.keys()
    await ChannelRouter(table, supplier_of=lambda _: None, customer_of=lambda _: None).close()


def test_two_channels_of_one_scheme_are_refused(tmp_path: Path) -> None:
    """The later plug-in is named."""

    class Other(LogChannel):
        endpoint_schemes = frozenset({"mqtt", "log"})

    with pytest.raises(ConfigError, match=r"starloop\.channels\.zz-other: serves mqtt, as another channel does"):
        open_channels({"mqtt": MqttKind(), "zz-other": Other()}, environment(tmp_path))
