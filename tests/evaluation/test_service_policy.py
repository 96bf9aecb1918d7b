"""The service in simulated worlds: it violates no invariant in any family, and its runs are scored."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from evaluation.policies.service_policy import ServicePolicy
from evaluation.scoring.text_tables import format_scores
from evaluation.worlds.closed_loop_world import ClosedLoopWorld
from evaluation.worlds.scenario_families import FAMILY_NAMES, family_named
from evaluation.worlds.scenarios import FIRST_SEEDS, draw_scenarios
from evaluation.worlds.sensor_faults import draw_sensor_faults
from models.onnx_scorer import load_scorer
from starloop.cli import cli

SEED = 31_000


def simulate(name: str, items: int = 4, days: int = 75) -> tuple[ClosedLoopWorld, ServicePolicy]:
    """A small simulation of the family under the service."""
    scenarios = draw_scenarios(family_named(name), [SEED], items, days)
    service = ServicePolicy(scenarios, load_scorer("run-out"))
    world = ClosedLoopWorld(scenarios, service, draw_sensor_faults(scenarios))
    world.run()
    return world, service


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_the_service_violates_no_invariant_in_any_family(name: str) -> None:
    """Price, budget, consent, absence, supplier, one order at a time; stock balances; forecasts start within a day."""
    world, service = simulate(name)
    assert service.invariants.violations == []
    assert world.imbalance() < 1e-9
    assert service.first_forecast
    assert max(service.first_forecast.values()) <= 24


def test_the_service_orders_and_its_orders_arrive() -> None:
    """With steady demand: hardly a run-out, and orders as the consumption needs."""
    world, _ = simulate("steady", days=150)
    assert world.totals.orders.sum() >= 8
    assert world.totals.run_outs.sum() <= 1
    assert all(order.name for order in world.orders)


def test_the_same_seed_gives_the_same_orders_and_forecasts() -> None:
    """The same simulation twice, to the last digit."""
    (first, one), (second, two) = simulate("spikes"), simulate("spikes")
    assert [(order.row, order.hour, order.name) for order in first.orders] == [
        (order.row, order.hour, order.name) for order in second.orders
    ]
    assert np.array_equal(one.samples().days, two.samples().days)


def test_forecasts_are_scored_against_true_consumption() -> None:
    """Quantiles in order, and a positive true time to empty for each forecast."""
    _, service = simulate("weekly")
    samples = service.samples()
    assert len(samples.truth) > 200
    assert (np.diff(samples.days, axis=1) >= 0.0).all()
    assert (samples.truth > 0.0).all()


def test_development_and_held_out_seeds_do_not_overlap() -> None:
    """A thousand development seeds end before the first held-out one."""
    assert FIRST_SEEDS["dev"] + 1000 < FIRST_SEEDS["test"]


def test_the_command_writes_a_table_a_page_and_its_charts(tmp_path: Path) -> None:
    """A quick run of two families: JSON with intervals, a page that shows both charts, and charts that are XML."""
    command = ["models", "evaluate", "run-out", "--quick", "--family", "steady", "--family", "mandate"]
    done = CliRunner().invoke(cli, [*command, "--processes", "1", "--json", "--write-docs", str(tmp_path)])
    assert done.exit_code == 0, done.output
    scores = json.loads(done.stdout)
    assert set(scores["families"]) == {"steady", "mandate"}
    middle, low, high = scores["families"]["steady"]["policies"]["service"]["over_clairvoyant"]
    assert low <= middle <= high
    assert scores["overall"]["policies"]["clairvoyant"]["over_clairvoyant"] == [1.0, 1.0, 1.0]
    assert scores["overall"]["broken"] == 0
    folder = tmp_path / "explanation"
    page = (folder / "evaluation.md").read_text()
    for figure in ("evaluation-cost.svg", "evaluation-coverage.svg"):
        assert figure in page
        assert ET.fromstring((folder / figure).read_text()).tag.endswith("svg")
    assert any("service over informed" in line for line in format_scores(scores))


def test_an_unknown_family_is_rejected_as_wrong_use() -> None:
    """With exit 2, as wrong use."""
    done = CliRunner().invoke(cli, ["models", "evaluate", "run-out", "--family", "nonsense"])
    assert done.exit_code != 0
