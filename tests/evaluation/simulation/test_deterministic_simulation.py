"""The whole loop on seeded neighbourhoods with ground truth, killed between any two steps, and judged from outside.

`STARLOOP_WORLD_SEEDS` sets how many worlds are lived: 200 unless given, 5,000 in `make soak`.
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
def test_whatever_is_killed_no_promise_is_broken(first: int) -> None:
    """At most one order outstanding, no need forgotten, no rule broken, no order without a shelf that runs low."""
    kills = 0
    for seed in range(first, min(first + SEEDS_A_TEST, SEEDS)):
        report = DeterministicSimulation(seed, homes=2, kill_share=0.01, scorer=SCORER).run(DAYS)
        assert report.violations == [], f"seed {seed}"
        kills += report.kills
    assert kills > 0


@pytest.mark.parametrize("seed", [3, 17, 101])
def test_a_killed_world_does_what_an_undisturbed_one_does(seed: int) -> None:
    """The same input, the same reactions in the same order with the same ids, byte for byte, over dozens of kills."""
    calm = DeterministicSimulation(seed, homes=2, scorer=SCORER)
    killed = DeterministicSimulation(seed, homes=2, kill_share=0.03, scorer=SCORER)
    lines = [one.replay_line() for one in calm.run(DAYS).sent]
    report = killed.run(DAYS)
    assert report.kills >= 10
    assert calm.input_records() == killed.input_records()
    assert [one.replay_line() for one in report.sent] == lines
    assert lines
