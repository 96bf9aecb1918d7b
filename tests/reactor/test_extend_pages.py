"""The pages on kinds of suppliers and channels build what they say, from their text alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.fleet import Customer, Supplier
from config.fleet_file import load_catalogue
from reactor.channels.base import ChannelEnvironment
from reactor.delivery.channel_router import ChannelRouter
from reactor.delivery.outbox_dispatcher import OutboxDispatcher
from reactor.delivery.routes import targets_of
from reactor.suppliers.base import ListPriceStrategy
from reactor.suppliers.registry import checked_quote, checked_quotes, strategy_of, supplier_strategies
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


NO_BUNDLES = """
class BuyingClub:
    def quote(self, request, terms):
        return terms.quote(None, request.item.pack, terms.supplier.price)
"""
NONE_AS_BUNDLES = """
from reactor.suppliers.base import ListPriceStrategy


class BuyingClub(ListPriceStrategy):
    def bundles(self, item, quote, terms):
        return None
"""


def run_with_plugin(folder: Path, source: str, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """`starloop` in the page's folder, with this source in place of the page's buying_club.py."""
    write_distribution("supplier-kind.md", folder)
    (folder / "buying_club.py").write_text(source)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "starloop", *arguments]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        command, cwd=folder, env=environment, input=given, capture_output=True, text=True, check=False, timeout=90
    )


@pytest.mark.parametrize(
    "command",
    [
        ["check", "fleet.toml"],
        ["replay", "--fleet", "fleet.toml"],
        ["up", "--fleet", "fleet.toml", "--data", "var", "--mqtt-port", "0", "--http-port", "0"],
    ],
    ids=lambda command: command[0],
)
def test_a_strategy_without_a_method_stops_check_replay_and_service(command: list[str], tmp_path: Path) -> None:
    """Before anything is decided: distribution, entry point and the missing methods are in the message."""
    done = run_with_plugin(tmp_path, NO_BUNDLES, *command)
    assert done.returncode == 1
    assert "plug-in of starloop-buying-club: starloop.suppliers.buying-club: (buying_club:BuyingClub)" in done.stderr
    assert "has no bundles and no other_sizes: expected an object of kind" in done.stderr
    assert "Traceback" not in done.stderr


def test_bundles_that_are_none_are_reported_by_plug_in_and_method(tmp_path: Path) -> None:
    """A replay ends with one line that names both, and what was expected."""
    levels = ({"at": 1767225600 + 21600 * n, "payload": {"values": {"oil": 1450.0 - 20.0 * n}}} for n in range(70))
    lines = "".join(json.dumps({**line, "topic": "starloop/v1/tank-7/telemetry"}) + "\n" for line in levels)
    arguments = ["replay", "--fleet", "fleet.toml", "--tick-every", "6h"]
    done = run_with_plugin(tmp_path, NONE_AS_BUNDLES, *arguments, given=lines)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        "starloop: plug-in of starloop-buying-club: starloop.suppliers.buying-club: returned None from bundles:"
        " expected an iterable of reactor.suppliers.base.Quote"
    )


@pytest.mark.parametrize("returned", [None, 3.0, [3.0]])
def test_what_is_no_quote_is_refused_with_the_plug_in_named(returned: object) -> None:
    """Quotes of any iterable are taken, and nothing else."""
    with pytest.raises(
        ConfigError, match=r"plug-in of starloop: starloop\.suppliers\.peer: returned (None|a float) from"
    ):
        checked_quotes("peer", "other_sizes", returned)
    assert checked_quotes("peer", "other_sizes", iter(())) == ()
    with pytest.raises(ConfigError, match=r"returned a float from quote: expected a reactor.* or None"):
        checked_quote("peer", 3.0)
    assert checked_quote("peer", None) is None


@pytest.mark.usefixtures("fresh_registry")
def test_a_refused_address_is_answered_with_the_installed_schemes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of plug-ins among them, for a supplier and for a customer."""
    write_distribution("channel.md", tmp_path)
    register(tmp_path, monkeypatch)
    with pytest.raises(ValueError, match=r"https URL \(schemes of installed channels: http, https, log, mqtt, spool\)"):
        Supplier.model_validate({"id": "s", "endpoint": "spol:/srv/orders"})
    with pytest.raises(ValueError, match=r"an Apprise URL such as .* \(schemes of installed channels: mqtt, spool\)"):
        Customer.model_validate({"id": "c", "channels": ["spol:/srv/notices"]})


@pytest.mark.usefixtures("fresh_registry")
def test_the_fleet_file_of_the_channels_page_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the channel installed its endpoint is accepted."""
    write_distribution("channel.md", tmp_path)
    register(tmp_path, monkeypatch)
    assert load_catalogue(tmp_path / "fleet.toml").suppliers["acme"].endpoint == "spool:/srv/orders"
