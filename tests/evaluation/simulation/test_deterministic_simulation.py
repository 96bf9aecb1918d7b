"""The whole loop on seeded neighbourhoods with ground truth, killed between any two effects, under the invariant checker.

`STARLOOP_WORLD_SEEDS` sets the number of simulations: 200 unless given, 5,000 in `make soak`.
"""

from __future__ import annotations

import os

import pytest

from evaluation.deterministic_simulation import DeterministicSimulation
from models.onnx_scorer import load_scorer

SEEDS = int(os.environ.get("STARLOOP_WORLD_SEEDS", "200"))
DAYS = 14.0
SEEDS_A_TEST = 10
SCORER = load_scorer("run-out")


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_A_TEST))
def test_no_invariant_is_violated_however_often_the_process_is_killed(first: int) -> None:
    """At most one open order, no forgotten need, no violated limit, no order for an item that does not run out."""
    kills = 0
    for seed in range(first, min(first + SEEDS_A_TEST, SEEDS)):
        report = DeterministicSimulation(seed, homes=2, kill_share=0.01, scorer=SCORER).run(DAYS)
        assert report.violations == [], f"seed {seed}"
        kills += report.kills
    assert kills > 0


@pytest.mark.parametrize("seed", [3, 17, 101])
def test_a_killed_simulation_does_what_an_undisturbed_one_does(seed: int) -> None:
    """The same input, the same reactions in the same order with the same ids, byte for byte, over dozens of kills."""
    undisturbed = DeterministicSimulation(seed, homes=2, scorer=SCORER)
    killed = DeterministicSimulation(seed, homes=2, kill_share=0.03, scorer=SCORER)
    lines = [reaction.replay_line() for reaction in undisturbed.run(DAYS).sent]
    report = killed.run(DAYS)
    assert report.kills >= 10
    assert undisturbed.input_records() == killed.input_records()
    assert [reaction.replay_line() for reaction in report.sent] == lines
    assert lines
