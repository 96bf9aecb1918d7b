"""`starloop backtest`: the consumption estimate is close to the truth, other rules differ as they must, and equal rules not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from config.fleet_file import load_catalogue
from evaluation.backtest.consumption_estimate import (
    ConsumptionEstimate,
    Tank,
    estimate_from_counter,
    estimate_from_increments,
    estimate_from_levels,
)
from evaluation.backtest.history import read_history
from models.champion import champion_dir
from models.onnx_scorer import load_model_dir
from reactor.store.sql import SqlStore
from star.errors import InputError, UsageError
from starloop.cli import cli
from starloop.commands.modelling.backtest import _learn_lead_times
from tests.support.household import household_of

Float64 = NDArray[np.float64]

START = 1_767_225_600
DAYS = 90
TANK = Tank(capacity=100.0, pack=80.0, spare=False)


def simulated_tank(
    seed: int, *, every_h: int = 6, noise: float = 0.3, step: float = 0.0
) -> tuple[Float64, Float64, Float64, Float64]:
    """(consumption by hour, level by hour, hours of readings, readings) of a tank that is refilled when it is nearly empty."""
    rng = np.random.default_rng(seed)
    use = rng.gamma(4.0, 0.25, 24 * DAYS) * 5.0 / 24.0
    level, levels = 90.0, np.zeros(24 * DAYS)
    for hour in range(24 * DAYS):
        levels[hour] = level
        level -= use[hour]
        if level < 12.0:
            level += 80.0
    at = np.arange(0.0, 24 * DAYS, every_h)
    read = levels[at.astype(int)] + rng.normal(0.0, noise, len(at))
    return use, levels, at, np.maximum(np.round(read / step) * step if step else read, 0.0)


def weekly_error(used: ConsumptionEstimate, use: Float64) -> float:
    """The mean error of weekly consumption, relative to it."""
    hours = len(use) // 168 * 168
    estimated, true = (series[:hours].reshape(-1, 168).sum(axis=1) for series in (used.hourly_use, use))
    return float(np.abs(estimated - true).mean() / true.mean())


@pytest.mark.parametrize(("noise", "step", "within"), [(0.3, 0.0, 0.05), (3.0, 0.0, 0.12), (0.2, 5.0, 0.12)])
def test_consumption_is_estimated_through_noise_and_coarse_steps(noise: float, step: float, within: float) -> None:
    """In total within a few per cent, weekly within some more; every refill and the initial level are found."""
    for seed in range(5):
        use, levels, at, read = simulated_tank(seed, noise=noise, step=step)
        used = estimate_from_levels(at, read, [], TANK, len(use))
        assert used.hourly_use.sum() == pytest.approx(use.sum(), rel=0.03 if noise < 1.0 else 0.05)
        assert weekly_error(used, use) < within
        assert used.refills == int((np.diff(levels) > 40.0).sum())
        assert used.initial_level == pytest.approx(90.0, abs=8.0)


def test_spikes_are_neither_consumption_nor_refills() -> None:
    """Spikes and a wrong first reading hardly change the estimate, and are kept as sensor errors."""
    use, levels, at, read = simulated_tank(7)
    spiked = read.copy()
    spiked[[0, 40, 41, 120, 300]] = (160.0, 0.0, 160.0, 0.0, 100.0)
    used = estimate_from_levels(at, spiked, [], TANK, len(use))
    assert weekly_error(used, use) < 0.06
    assert used.refills == int((np.diff(levels) > 40.0).sum())
    assert used.fitted_levels[40] == pytest.approx(levels[240], abs=6.0)


def test_a_declared_refill_within_a_gap_of_readings_is_used() -> None:
    """With a reading every five days, refills in between are known only from declarations."""
    use, levels, at, read = simulated_tank(3, every_h=120, noise=0.1)
    declared = [(float(hour) + 0.5, 80.0) for hour in np.flatnonzero(np.diff(levels) > 40.0)]
    assert estimate_from_levels(at, read, declared, TANK, len(use)).hourly_use.sum() == pytest.approx(
        use.sum(), rel=0.03
    )


def test_the_mean_consumption_is_assumed_while_an_item_is_empty() -> None:
    """Five a day for ten days, then ten days empty, and refilled: five a day throughout."""
    at = np.arange(0.0, 24.0 * 30, 6)
    level = np.where(at < 240, 50.0 - at / 24 * 5, np.where(at < 480, 0.0, 100.0 - (at - 480) / 24 * 5))
    used = estimate_from_levels(at, level, [], TANK, 24 * 30)
    assert used.empty_hours == pytest.approx(240, abs=12)
    assert used.hourly_use.sum() == pytest.approx(150.0, rel=0.05)


def test_a_counter_reset_loses_only_what_was_not_reported() -> None:
    """A running total with a reset and an impossible step, and increments."""
    at = np.arange(0.0, 240.0)
    total = np.arange(240.0) % 150.0
    total[60] = 9_000.0
    assert estimate_from_counter(at, total, 100.0, 240).hourly_use.sum() == pytest.approx(237.0, abs=3.0)
    assert estimate_from_increments(at, np.ones(240), 100.0, 240).hourly_use.sum() == 240.0


FLEET = """
[[customers]]
id = "ann"
experience = "{experience}"
consents = [{consents}]
contacts_per_week_max = 7
"""
DEVICE = """
[[devices]]
id = "t{number}"
customer = "ann"
profile = "level-tank"
[devices.slots.oil]
capacity = 100.0
pack = 80.0
suppliers = ["acme"]
stockout_cost = 40.0
"""
ACME = """
[[suppliers]]
id = "acme"
kind = "retailer"
lead_time_days = [1.5, 4.0]
price = 20.0
"""


def fleet(folder: Path, name: str, experience: str = "auto", consents: str = '"replenishment"', tanks: int = 3) -> str:
    """A fleet file of three tanks."""
    text = FLEET.format(experience=experience, consents=consents)
    (folder / name).write_text(text + "".join(DEVICE.format(number=number) for number in range(tanks)) + ACME)
    return str(folder / name)


@pytest.fixture
def readings(tmp_path: Path) -> str:
    """Ninety days of three tanks, with a tick, a blank line and an unreadable one."""
    rows: list[tuple[float, dict[str, object]]] = []
    for number in range(3):
        _, _, at, read = simulated_tank(number)
        for hour, value in zip(at.tolist(), read.tolist(), strict=True):
            rows.append((hour, {"topic": f"starloop/v1/t{number}/telemetry", "payload": {"values": {"oil": value}}}))
    lines = [json.dumps({"at": START + hour * 3600, **fields}) for hour, fields in sorted(rows, key=lambda row: row[0])]
    path = tmp_path / "readings.jsonl"
    path.write_text("\n".join([*lines[:5], "", "{", '{"at": 1767226000, "tick": true}', *lines[5:]]) + "\n")
    return str(path)


def backtest(*arguments: str) -> Result:
    """The command's result, in one process with one draw."""
    return CliRunner().invoke(cli, ["backtest", *arguments, "--draws", "1", "--processes", "1"])


def test_equal_rules_make_no_difference_at_all(tmp_path: Path, readings: str) -> None:
    """Another file with the same content: every difference is zero, and the same command prints the same."""
    command = ["--fleet", fleet(tmp_path, "a.toml"), "--readings", readings, "--with", fleet(tmp_path, "b.toml")]
    done = backtest(*command, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert all(values == [0.0, 0.0, 0.0] for values in report["ways"][1]["difference"].values())
    assert report["ways"][0]["figures"]["run_outs"] <= 1.0
    assert report["ways"][0]["figures"]["orders"] == pytest.approx(3 * 5, abs=5)
    assert report["lines_unread"] == 1
    assert backtest(*command, "--json").stdout == done.stdout


def test_without_consent_items_run_out_and_the_table_shows_the_cost(tmp_path: Path, readings: str) -> None:
    """Nothing may be ordered: a significantly higher cost and three run-outs; the assumptions are listed."""
    poor = fleet(tmp_path, "poor.toml", consents="")
    done = backtest("--fleet", fleet(tmp_path, "a.toml"), "--readings", readings, "--with", poor)
    assert done.exit_code == 0, done.output
    assert "assumptions:" in done.stdout
    cost = next(line for line in done.stdout.splitlines() if line.startswith("total cost"))
    assert float(cost.split()[5]) > 0.0, cost
    run_outs = next(line for line in done.stdout.splitlines() if line.startswith("run-outs"))
    assert run_outs.split()[2] == "3.00"


def test_offers_cost_contacts_and_lead_to_as_many_orders(tmp_path: Path, readings: str) -> None:
    """Offers in place of orders: each is a contact, and each is accepted and delivered."""
    asked = fleet(tmp_path, "asked.toml", experience="offer")
    done = backtest("--fleet", fleet(tmp_path, "a.toml"), "--readings", readings, "--with", asked, "--json")
    first, other = json.loads(done.stdout)["ways"]
    assert first["figures"]["contacts"] == 0.0
    assert other["figures"]["contacts"] >= other["figures"]["orders"] > 0.0
    assert other["difference"]["run_outs"][0] <= 3.0


def test_reminders_make_people_buy_by_themselves(tmp_path: Path, readings: str) -> None:
    """Reminders without orders: hardly a run-out, as every reminder leads to a purchase."""
    coached = fleet(tmp_path, "coached.toml", experience="coach")
    done = backtest("--fleet", fleet(tmp_path, "a.toml"), "--readings", readings, "--with", coached, "--json")
    other = json.loads(done.stdout)["ways"][1]["figures"]
    assert other["contacts"] > 0.0
    assert other["run_outs"] < 9.0


def test_another_model_is_named_with_its_hash(tmp_path: Path, readings: str) -> None:
    """The model in force under its own name: no difference, and both variants name their model."""
    name = load_model_dir(champion_dir("run-out")).name
    done = backtest("--fleet", fleet(tmp_path, "a.toml"), "--readings", readings, "--model", name, "--json")
    report = json.loads(done.stdout)
    assert [variant["model"] for variant in report["ways"]] == [name, name]
    assert report["ways"][1]["difference"]["money"] == [0.0, 0.0, 0.0]


def test_an_impossible_comparison_is_refused_in_one_line(tmp_path: Path, readings: str) -> None:
    """Nothing to compare with, two histories or none, a missing item, a history of other devices."""
    own = fleet(tmp_path, "a.toml")
    few = fleet(tmp_path, "few.toml", tanks=2)
    for wrong in (["--readings", readings], ["--with", few], ["--readings", readings, "--data", ".", "--with", few]):
        assert isinstance(backtest("--fleet", own, *wrong).exception, UsageError)
    done = backtest("--fleet", own, "--readings", readings, "--with", few)
    assert isinstance(done.exception, InputError)
    assert "has no item t2/oil" in str(done.exception)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert "no reading" in str(backtest("--fleet", own, "--readings", str(empty), "--with", own).exception)


def test_an_item_with_too_little_history_is_excluded_and_named(tmp_path: Path, readings: str) -> None:
    """A fourth tank that never reported."""
    with Path(readings).open("rb") as lines:
        history = read_history(lines, load_catalogue(Path(fleet(tmp_path, "a.toml", tanks=4))))
    assert list(history.excluded) == ["t3/oil"]
    assert len(history.items) == 3


def test_lead_times_are_learned_from_the_store(tmp_path: Path) -> None:
    """One delivery after three days narrows a stated lead time of one to thirty days; other suppliers keep theirs."""
    home = household_of()
    with SqlStore(f"sqlite:///{tmp_path / 'store.db'}") as store:
        order = home.sees(8.0).tick()[0]
        store.commit(home.steps[-1], home.engine.catalogue)
        home.passes(days=3).says(order.id, "delivered").tick()
        store.commit(home.steps[-1], home.engine.catalogue)
        stated = {"acme": (1.0, 30.0), "other": (1.0, 2.0)}
        learned = dict(stated)
        _learn_lead_times(store, learned)
    assert learned["other"] == stated["other"]
    assert learned["acme"] != stated["acme"]
