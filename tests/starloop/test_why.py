"""`starloop why`: receipts from the store of a stopped service, and from the API of a running one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from config.settings import Settings
from reactor.store.sql import SqlStore
from star.errors import InputError
from starloop.commands.inspect.why import command, format_receipt, receipts_of_service, receipts_of_store
from tests.support.household import household_of


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Data of a stopped service with one delivered order."""
    home = household_of(language="fr")
    with SqlStore(f"sqlite:///{tmp_path / 'store.db'}") as store:
        order = home.sees(8.0).tick()[0]
        store.commit(home.steps[-1], home.engine.catalogue)
        home.passes(days=3).says(order.id, "delivered").tick()
        store.commit(home.steps[-1], home.engine.catalogue)
    return tmp_path


def test_the_receipt_of_an_order_is_complete(data: Path) -> None:
    """The sentence in the customer's language, then forecast, model, rules and figures."""
    result = CliRunner().invoke(command, ["tank-7/oil/1/order/1", "--data", str(data)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "commande de 500 chez acme pour 610,00" in result.output
    for word in (
        "model: hand@1:0",
        "5%:",
        "consent allowed",
        "price allowed",
        "cost_now",
        "instead:",
        "readings, the latest",
    ):
        assert word in result.output


def test_a_need_shows_all_its_decisions_newest_first(data: Path) -> None:
    """One JSON object per decision."""
    result = CliRunner().invoke(command, ["tank-7/oil/1", "--json", "--data", str(data)], catch_exceptions=False)
    rows = [json.loads(line) for line in result.output.splitlines()]
    assert [row["verdict"] for row in rows] == ["met", "starloop.order.requested"]


def test_a_decision_is_found_by_its_own_id_stopped_or_running(data: Path) -> None:
    """It is also found in the response of a running service for its need."""
    rows = receipts_of_store(Settings.read(data_dir=data), "tank-7/oil/1")
    asked: list[str] = []

    def ask(path: str) -> dict[str, object]:
        asked.append(path)
        return {"need": {}, "decisions": rows}

    found = receipts_of_service(ask, "tank-7/oil/1/decision/1")
    assert found == receipts_of_store(Settings.read(data_dir=data), "tank-7/oil/1/decision/1")
    assert asked == ["/api/v1/why/tank-7/oil/1"]
    assert any("prévision" in line for line in format_receipt(found[0], "fr"))


def test_an_unknown_id_is_one_clear_line(data: Path, tmp_path: Path) -> None:
    """There is no receipt, or no store."""
    for arguments in (["nobody/knows/1", "--data", str(data)], ["x/y/1", "--data", str(tmp_path / "none")]):
        result = CliRunner().invoke(command, arguments)
        assert isinstance(result.exception, InputError)
        assert "expected" in str(result.exception)
