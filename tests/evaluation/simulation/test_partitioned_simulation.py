"""A neighbourhood whose customers are split over workers and engines: sensed, analysed and decided as by one."""

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
"""The customer that a line is of (None: a tick, for all), and the line."""


class Noting(Engine):
    """An engine that keeps the facts it was given."""

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__(catalogue)
        self.told: list[Facts] = []

    def step(self, facts: Facts) -> StepResult:
        """The step, its facts noted."""
        self.told.append(facts)
        return super().step(facts)


def facts_of(catalogue: Catalogue, lines: Sequence[bytes]) -> list[Facts]:
    """What analysis hands to the reactor, tick by tick, of the lines."""
    replay = Replay(catalogue, SCORER, frozenset())
    replay._engine = noting = Noting(catalogue)
    for line in lines:
        replay.feed(line)
    return noting.told


def lived(seed: int) -> tuple[Catalogue, list[Line]]:
    """A neighbourhood's month in a closed loop with one replay: all that came in."""
    neighbourhood = Neighbourhood(seed, HOMES)
    catalogue = resolve_catalogue(neighbourhood.fleet, load_profiles())
    replay = Replay(catalogue, SCORER, frozenset({"reactions"}))
    lines: list[Line] = []
    end_ms = neighbourhood.now_ms + round(DAYS * DAY_MS)
    while neighbourhood.now_ms < end_ms:
        to_ms = neighbourhood.now_ms + HOUR_MS
        came = [(event.topic.split("/")[2], event.replay_line()) for event in neighbourhood.advance(to_ms)]
        hour: list[Line] = [(catalogue.devices[device].customer, orjson.dumps(line)) for device, line in came]
        hour.append((None, orjson.dumps({"at": to_ms / 1000, "tick": True})))
        lines += hour
        for printed in (printed for _, line in hour for printed in replay.feed(line)):
            told = orjson.loads(printed)
            if "data" in told:
                neighbourhood.handle_reaction(told)
    return catalogue, lines


@pytest.mark.parametrize(("seed", "partitions"), [(4, 2), (11, 5)])
def test_a_neighbourhood_split_over_partitions_is_served_as_by_one(seed: int, partitions: int) -> None:
    """From the devices' messages to the receipts, byte for byte, though no worker sees another's customers."""
    catalogue, lines = lived(seed)
    expected = single_engine_journal(catalogue, facts_of(catalogue, [line for _, line in lines]))
    histories = [
        facts_of(catalogue, [line for of, line in lines if of is None or partition_of(of, partitions) == number])
        for number in range(partitions)
    ]
    cluster = EngineCluster(catalogue, histories, seed)
    cluster.run()
    assert sum(len(words) for words in expected.values()) > 20
    assert len(expected) > 3
    for customer in catalogue.customers:
        assert cluster.journal.get(customer) == expected.get(customer), customer
    taught = [engine.state.suppliers for engine in cluster.engines]
    assert all(suppliers == taught[0] for suppliers in taught)
    assert any(memory.learned is not None for memory in taught[0].values())
