"""A neighbourhood whose customers are split over partitions: the results equal those of a single process."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest

from config.catalogue import Catalogue, resolve_catalogue
from config.profile_file import load_profiles
from models.onnx_scorer import load_scorer
from reactor.engine import Engine
from reactor.unit_of_work import StepResult
from runtime.replay import Replay
from simulators.neighbourhood.simulation import Neighbourhood
from star.analyse import Facts
from star.times import DAY_MS, HOUR_MS
from stream.partition.partition_hash import partition_of
from tests.support.engine_cluster import EngineCluster, single_engine_journal

DAYS = 30.0
HOMES = 6
SCORER = load_scorer("run-out")
Line = tuple[str | None, bytes]
"""The customer of a line (None: a tick, for all), and the line."""


class RecordingEngine(Engine):
    """An engine that keeps the facts it was given."""

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__(catalogue)
        self.recorded: list[Facts] = []

    def step(self, facts: Facts) -> StepResult:
        """The step, after recording its facts."""
        self.recorded.append(facts)
        return super().step(facts)


def facts_of(catalogue: Catalogue, lines: Sequence[bytes]) -> list[Facts]:
    """The facts that the analysis passes to the reactor for the lines, tick by tick."""
    replay = Replay(catalogue, SCORER, frozenset())
    replay._engine = engine = RecordingEngine(catalogue)
    for line in lines:
        replay.feed(line)
    return engine.recorded


def simulate(seed: int) -> tuple[Catalogue, list[Line]]:
    """A month of a neighbourhood in a closed loop with one replay: the catalogue, and all input lines."""
    neighbourhood = Neighbourhood(seed, HOMES)
    catalogue = resolve_catalogue(neighbourhood.fleet, load_profiles())
    replay = Replay(catalogue, SCORER, frozenset({"reactions"}))
    lines: list[Line] = []
    end_ms = neighbourhood.now_ms + round(DAYS * DAY_MS)
    while neighbourhood.now_ms < end_ms:
        to_ms = neighbourhood.now_ms + HOUR_MS
        events = [(event.topic.split("/")[2], event.replay_line()) for event in neighbourhood.advance(to_ms)]
        hour: list[Line] = [(catalogue.devices[device].customer, orjson.dumps(line)) for device, line in events]
        hour.append((None, orjson.dumps({"at": to_ms / 1000, "tick": True})))
        lines += hour
        for printed in (printed for _, line in hour for printed in replay.feed(line)):
            output = orjson.loads(printed)
            if "data" in output:
                neighbourhood.handle_reaction(output)
    return catalogue, lines


@pytest.mark.parametrize(("seed", "partitions"), [(4, 2), (11, 5)])
def test_a_neighbourhood_split_over_partitions_is_served_as_by_one(seed: int, partitions: int) -> None:
    """From the devices' messages to the receipts, byte for byte, though no partition sees another's customers."""
    catalogue, lines = simulate(seed)
    expected = single_engine_journal(catalogue, facts_of(catalogue, [line for _, line in lines]))
    histories = [
        facts_of(
            catalogue,
            [line for customer, line in lines if customer is None or partition_of(customer, partitions) == number],
        )
        for number in range(partitions)
    ]
    cluster = EngineCluster(catalogue, histories, seed)
    cluster.run()
    assert sum(len(words) for words in expected.values()) > 20
    assert len(expected) > 3
    for customer in catalogue.customers:
        assert cluster.journal.get(customer) == expected.get(customer), customer
    learned = [engine.state.suppliers for engine in cluster.engines]
    assert all(suppliers == learned[0] for suppliers in learned)
    assert any(memory.learned is not None for memory in learned[0].values())
