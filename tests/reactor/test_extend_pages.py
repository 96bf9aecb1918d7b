"""The pages on kinds of suppliers and channels build what they say, from their text alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.fleet import Supplier
from reactor.channels.base import ChannelEnvironment
from reactor.delivery.channel_router import ChannelRouter
from reactor.delivery.outbox_dispatcher import OutboxDispatcher
from reactor.delivery.routes import targets_of
from reactor.suppliers.base import ListPriceStrategy
from reactor.suppliers.registry import strategy_of, supplier_strategies
from star.errors import ConfigError
from star.react import ReactionType
from star.repeat import NeedState
from tests.support.delivery_fleet import InMemoryOutbox, ManualClock, RecordingChannel, fleet_of, reaction_of
from tests.support.plugin_page import code_lines, forget_plugins, register, run_page_test, write_distribution

CODE_LINES_MAX = 60


@pytest.fixture
def fresh_registry() -> Iterator[None]:
    """Registries that are read anew in the test, and after it."""
    forget_plugins()
    yield
    forget_plugins()
    sys.modules.pop("spool_channel", None)


@pytest.mark.parametrize("page", ["supplier-kind.md", "channel.md"])
def test_an_extension_takes_less_than_sixty_lines(page: str, tmp_path: Path) -> None:
    """Its example and test, which pass where the plug-in is installed."""
    assert code_lines(page) < CODE_LINES_MAX
    write_distribution(page, tmp_path)
    run_page_test(tmp_path)


@pytest.mark.usefixtures("fresh_registry")
async def test_a_channel_of_a_plug_in_gets_orders_and_notices_from_the_outbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supplier's endpoint and a customer's channel of its scheme are accepted, and sent to by the dispatcher."""
    write_distribution("channel.md", tmp_path)
    register(tmp_path, monkeypatch)
    orders, notices = tmp_path / "orders", tmp_path / "notices"
    orders.mkdir()
    notices.mkdir()
    fleet = fleet_of(f"spool:{orders}", channels=("mqtt", f"spool:{notices}"))
    clock, outbox, mqtt = ManualClock(), InMemoryOutbox(), RecordingChannel()
    environment = ChannelEnvironment(
        log=mqtt,  # type: ignore[arg-type]  # no reaction of this test goes to the topic
        clock=clock,
        data_dir=tmp_path,
        supplier_of=fleet.suppliers.get,
        customer_of=fleet.customers.get,
        label_of=lambda item, _: item,
        send_timeout_s=1.0,
    )
    router = ChannelRouter.open(environment)
    dispatcher = OutboxDispatcher(
        outbox,
        router,
        catalogue=lambda: fleet,
        report=mqtt.report,
        need_state=lambda _: NeedState.OPEN,
        clock=clock,
    )
    order, offer = reaction_of(), reaction_of(ReactionType.OFFER_MADE, cycle=4)
    for reaction in (order, offer):
        for target in targets_of(reaction, fleet):
            if target != "mqtt":
                outbox.add(reaction, target)
    await dispatcher.run_once()
    await router.close()
    assert [(row.target, row.state) for row in outbox.rows] == [("supplier:acme", "sent"), ("customer:maria", "sent")]
    assert [json.loads(file.read_text())["id"] for file in orders.iterdir()] == [order.id]
    assert [json.loads(file.read_text())["id"] for file in notices.iterdir()] == [offer.id]


def test_the_kinds_that_ship_have_a_strategy_each() -> None:
    """The five architectures, which order at list prices until there are rounds of quotes."""
    shipped = {"crowd", "market-maker", "peer", "producer", "retailer"}
    assert shipped <= supplier_strategies().keys()
    assert all(isinstance(strategy_of(kind), ListPriceStrategy) for kind in shipped)


def test_an_unknown_kind_of_suppliers_is_refused_with_the_installed_ones() -> None:
    """In a fleet file, and of a stored fleet whose plug-in was removed."""
    with pytest.raises(ValueError, match=r'expected one of crowd, .* \(did you mean "retailer"\?\)'):
        Supplier.model_validate({"id": "s", "kind": "retail"})
    with pytest.raises(ConfigError, match="is 'buying-club': expected an installed kind of suppliers, one of crowd"):
        strategy_of("buying-club")
