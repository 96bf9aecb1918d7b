"""Real consumption as the demand of the evaluation: read from a folder of data sets, day by day."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from evaluation.closed_loop import REFERENCE_POLICIES, select_families
from evaluation.worlds.closed_loop_world import ClosedLoopWorld
from evaluation.worlds.consumption_traces import Trace, TracePool, real_families, trace_pool
from evaluation.worlds.scenario_families import ScenarioFamily
from evaluation.worlds.scenarios import draw_scenarios
from evaluation.worlds.sensor_faults import draw_sensor_faults
from star.errors import UsageError
from starloop.cli import cli

DAYS = 600


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with synthetic versions of two data sets: two departments of a shop and a vending machine."""
    shop = tmp_path / "consumption/m5_sample"
    shop.mkdir(parents=True)
    rng = np.random.default_rng(5)
    first = np.datetime64("2015-01-01")
    dates = [str(first + day) for day in range(DAYS)]
    with gzip.open(shop / "data.csv.gz", "wt", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["state_id", "store_id", "cat_id", "dept_id", *dates])
        for number in (1, 2):
            rows.writerow(["CA", "1", "FOODS", number, *rng.poisson(20.0 * number, DAYS)])
    machine = tmp_path / "consumption/coffee_vending"
    machine.mkdir()
    with (machine / "machine_1.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["date", "datetime", "cash_type", "card", "money", "coffee_name"])
        for day in range(180):
            date = (first + day).astype(object)
            us_date = f"{date.month}/{date.day}/{date.year}"
            rows.writerows([us_date, f"{us_date} 10:15", "card", "x", "38.7", "Latte"] for _ in range(day % 7))
    return tmp_path


def test_daily_consumption_is_that_of_the_trace(folder: Path) -> None:
    """An item's daily consumption is a section of a trace, on the trace's own weekdays."""
    family = next(family for family in real_families(folder) if family.name == "vending-5-days")
    pool = trace_pool(folder, "vending")
    scenarios = draw_scenarios(family, [3], 4, None, pool)
    daily = scenarios.hourly_use.reshape(4, -1, 24).sum(axis=2)
    trace = pool.traces[0]
    start = scenarios.first_day - trace.first_day
    assert start >= 0
    expected = trace.use[start : start + daily.shape[1]]
    for row in daily:
        assert np.allclose(row / row.mean(), expected / expected.mean())
    sold = (trace.first_day - int(np.datetime64("2015-01-01").astype(np.int64)) + np.arange(7)) % 7
    assert np.allclose(trace.use[:7] * 3.0, sold, atol=0.05)  # day % 7 cups a day, three on average


def test_missing_data_sets_are_left_out(folder: Path) -> None:
    """Two of five groups exist, at three scales each, with three kinds of sensor."""
    families = real_families(folder)
    assert sorted({family.trace_group for family in families}) == ["shops", "vending"]
    assert len(families) == 6
    assert len({family.sensor for family in families}) == 3
    assert all(
        family.days + family.beyond_days <= trace_pool(folder, family.trace_group).days_known() for family in families
    )


def test_traces_are_shifted_by_years_of_whole_weeks() -> None:
    """A trace of four years starts in any of them: weekdays are kept, and seasons nearly."""
    use = np.arange(1460.0)
    pool = TracePool(traces=(Trace(name="long", first_day=10_000, use=use),))
    rows = pool.windows(np.random.default_rng(1), 40, 10_050, 300)
    starts = set(rows[:, 0].tolist())
    assert len(starts) > 1
    assert all((start - 50) % 364 == 0 for start in starts)


def test_real_traces_need_a_folder_and_say_so(tmp_path: Path) -> None:
    """Without --data, and where the folder has none."""
    done = CliRunner().invoke(cli, ["models", "evaluate", "run-out", "--traces"], env={"STARLOOP_DATA": ""})
    assert isinstance(done.exception, UsageError)
    assert "--data" in str(done.exception)
    with pytest.raises(Exception, match="none of the data sets"):
        real_families(tmp_path)


def test_reference_policies_run_on_real_consumption(data: Callable[[str], Path]) -> None:
    """In every group available: stock balances, and the clairvoyant costs less than a threshold."""
    folder = data("consumption").parent
    costs: dict[str, float] = {"clairvoyant": 0.0, "threshold": 0.0}
    families: tuple[ScenarioFamily, ...] = select_families((), folder, traces=True)[1]
    for family in [family for family in families if family.name.endswith("-15-days")]:
        scenarios = draw_scenarios(family, [11], 4, 120, trace_pool(folder, family.trace_group))
        for policy in costs:
            world = ClosedLoopWorld(scenarios, REFERENCE_POLICIES[policy](scenarios), draw_sensor_faults(scenarios))
            costs[policy] += float(world.run().cost(scenarios).sum())
            assert world.imbalance() < 1e-9
    assert 0.0 < costs["clairvoyant"] < 0.5 * costs["threshold"]


def test_the_service_runs_on_real_consumption(data: Callable[[str], Path]) -> None:
    """The command prints a table of its own for real traces."""
    command = [
        "models",
        "evaluate",
        "run-out",
        "--quick",
        "--traces",
        "--data",
        str(data("consumption").parent),
        "--processes",
        "1",
    ]
    done = CliRunner().invoke(
        cli, [*command, *(part for group in ("water", "shops") for part in ("--family", f"{group}-15-days"))]
    )
    assert done.exit_code == 0, done.output
    assert "real traces" in done.stdout
