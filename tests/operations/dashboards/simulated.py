"""A neighbourhood that really lived, told to InfluxDB the way the service tells it: through the log's topics and the sink.

Intake, analysis, engine, log and sink are the service's own; the people, suppliers and sensors are the simulator's. The figures of
topic `service` are those of real meters over this very run; only the clock that they and the world go by is the simulated one.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import orjson

from config.catalogue import Catalogue, resolve_catalogue
from config.fleet import Device, Fleet
from config.profile_file import load_profiles
from edge.adapters import installed_adapters
from edge.decoder import Decoder
from models.onnx_scorer import load_scorer
from operations.observability.metrics import Meters
from operations.observability.metrics_snapshot import SnapshotWindow, encode_heartbeat
from operations.observability.probes import CountStep, watch_reactor, watch_stream
from reactor.delivery.cloudevents import event_bytes
from reactor.engine import Engine
from reactor.store.memory import MemoryMetricRegistry, MemoryStore
from reactor.unit_of_work import StepResult
from simulators.faults import DeviceMessage, FaultChain, Spikes
from simulators.neighbourhood.fault_profile import ROUGH_FAULTS
from simulators.neighbourhood.simulation import START_MS, Neighbourhood
from simulators.physics.weather import daily_temperature_c
from star.ids import item_of_reaction
from star.records import Quarantined, Record, Tick, encode
from star.times import DAY_MS, HOUR_MS, MINUTE_MS
from stream.analysis import Analysis
from stream.sinks.options import InfluxOptions
from stream.topics import CALIBRATION, DECISIONS, FORECASTS, INPUT, REACTIONS, SCORES, SERVICE
from tests.stream.sinks.rig import SinkRig

MONITOR = "cold-room"
MONITORED_DAYS = 120
TopicRecords = dict[str, list[bytes]]


class SimulatedService:
    """A seeded neighbourhood under the service's care, in one thread. `pass_hour` gives what the log gets of an hour."""

    def __init__(self, seed: int, homes: int) -> None:
        self.neighbourhood = Neighbourhood(seed, homes, faults=ROUGH_FAULTS)
        self.catalogue: Catalogue = resolve_catalogue(_with_monitor(self.neighbourhood.fleet), load_profiles())
        self._monitor = _monitored(seed)
        self.names = MemoryMetricRegistry()
        self._decoder = Decoder(self.catalogue, self.names, adapters=installed_adapters())
        self._analysis = Analysis(self.catalogue, self.names, load_scorer("run-out"))
        self._engine = Engine(self.catalogue)
        self._store = MemoryStore()
        self._offset = 0
        self.evaluated = 0
        self.evaluated_in_90 = 0
        self.meters = Meters("up", "here", monotonic=lambda: (self.neighbourhood.now_ms - START_MS) / 1000.0)
        self._count_step: CountStep = self._wire()
        self._snapshots = SnapshotWindow(self.meters)

    def _wire(self) -> CountStep:
        self.meters.register_read("starloop_readings_total", lambda: self._decoder.ingested)
        self.meters.register_read("starloop_messages_total", lambda: self._offset)
        self.meters.register_read("starloop_quarantined_total", lambda: self._decoder.quarantined)
        watch_stream(self.meters)
        return watch_reactor(self.meters)

    def pass_hour(self) -> TopicRecords:
        """What happened within the hour, and the tick at its end."""
        at_ms = self.neighbourhood.now_ms + HOUR_MS
        for event in self.neighbourhood.advance(at_ms):
            self._decoder.ingest(event.topic, orjson.dumps(event.payload), event.at_ms)
        for message in self._monitor.pop_arrived(at_ms):
            self._decoder.ingest(message.topic, orjson.dumps(message.payload), message.arrive_ms)
        self._decoder.append(Tick(at_ms=at_ms))
        records: TopicRecords = {INPUT: []}
        for one in self._decoder.drain():
            if not isinstance(one, Quarantined):
                records[INPUT].append(encode(one))
                self._analyse(one, records)
        records[SERVICE] = [encode_heartbeat("up", "here", at_ms, self._snapshots.take_snapshot())]
        return records

    def _analyse(self, one: Record, records: TopicRecords) -> None:
        begun_s = perf_counter()
        facts = self._analysis.ingest(self._offset, one)
        self._offset += 1
        if facts is None:
            return
        watched = self._analysis.telemetry()
        self.meters.decision_seconds.observe(perf_counter() - begun_s)
        levels = [judged.level for judged in watched[CALIBRATION]]
        self.meters.calibration.add(levels)
        self.evaluated += len(levels)
        self.evaluated_in_90 += sum(0.05 <= level <= 0.95 for level in levels)
        records[FORECASTS], records[CALIBRATION] = (
            [orjson.dumps(watched[FORECASTS])],
            [orjson.dumps(watched[CALIBRATION])],
        )
        records[SCORES] = [orjson.dumps(watched[SCORES])]
        step = self._engine.step(facts)
        self._store.commit(step, self._engine.catalogue)
        self._count_step(step)
        records[DECISIONS] = [orjson.dumps(decisions_record(step))]
        records[REACTIONS] = [event_bytes(reaction) for reaction in step.reactions]
        for reaction in step.reactions:
            self.neighbourhood.handle_reaction(reaction.replay_line())


def _with_monitor(fleet: Fleet) -> Fleet:
    """The fleet, and in its first home a cold room whose power is watched: the neighbourhood has no part that is scored."""
    monitor = Device(id=MONITOR, customer=fleet.customers[0].id, profile="generic-monitor")
    return fleet.model_copy(update={"devices": (*fleet.devices, monitor)})


def _monitored(seed: int) -> FaultChain:
    """What the cold room sends, every ten minutes of `MONITORED_DAYS`: power that goes with the weather, and a sensor's spikes."""
    chance = np.random.default_rng([seed, 7])
    warmth = daily_temperature_c(chance, 1, MONITORED_DAYS, START_MS // DAY_MS)[0]
    chain = FaultChain([Spikes(chance, share=0.001, span=2000.0)])
    for sent_ms in range(START_MS, START_MS + MONITORED_DAYS * DAY_MS, 10 * MINUTE_MS):
        power = 400.0 + 8.0 * warmth[(sent_ms - START_MS) // DAY_MS] + chance.normal(0.0, 10.0)
        payload = {"at": sent_ms / 1000.0, "values": {"power": float(power)}}
        topic = f"starloop/v1/{MONITOR}/telemetry"
        chain.send(DeviceMessage(sent_ms=sent_ms, arrive_ms=sent_ms, topic=topic, payload=payload))
    return chain


def decisions_record(step: StepResult) -> dict[str, Any]:
    """A step as topic `decisions` has it."""
    decisions = [
        {
            "id": one.id,
            "need": one.need,
            "item": one.need.rpartition("/")[0],
            "verdict": str(one.verdict),
            "reaction": one.reaction,
            "rules": [[rule.rule, rule.allowed] for rule in one.rules],
        }
        for one in step.decisions
    ]
    outcomes = [
        {
            "id": one.id,
            "item": one.item or item_of_reaction(reaction),
            "result": str(one.result),
            "at_ms": one.arrived_ms,
        }
        | {"timing": one.timing, "csat": one.csat}
        for reaction, one in step.outcomes
    ]
    return {"at_ms": step.at_ms, "decisions": decisions, "outcomes": outcomes}


async def run_simulated_service(
    folder: Path, options: InfluxOptions, *, seed: int, homes: int, days: int
) -> tuple[SinkRig, SimulatedService]:
    """Lives so many days, on a log on disk that the sink can follow."""
    life = SimulatedService(seed, homes)
    rig = SinkRig(folder, options)
    rig.catalogue = life.catalogue
    rig.names = life.names  # type: ignore[assignment]
    await rig.client.start()
    for _ in range(days):
        gathered: TopicRecords = {}
        for _ in range(DAY_MS // HOUR_MS):
            for topic, values in life.pass_hour().items():
                gathered.setdefault(topic, []).extend(values)
        for topic, values in gathered.items():
            await rig.append(topic, *values)
    return rig, life
