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

from config.fleet import Device, Fleet
from config.profile_file import load_profiles
from config.resolve import Catalogue, resolve
from edge.adapters import installed
from edge.intake import Intake
from models.runtime import load_scorer
from reactor.cloudevents import event_bytes
from reactor.engine import Engine
from reactor.store.memory import MemoryNames, MemoryStore
from reactor.turn import Step
from simulators.faults import Chain, Message, Spikes
from simulators.fleet import START_MS, Neighbourhood
from simulators.physics.weather import daily_temperature_c
from simulators.troubles import ROUGH
from star.react import item_of_reaction
from star.records import Quarantined, Record, Tick, encode
from star.times import DAY_MS, HOUR_MS, MINUTE_MS
from starloop.watching.metrics import Meters
from starloop.watching.probes import Stepped, watch_reactor, watch_stream
from starloop.watching.snapshot import Snapshots, record
from stream.analysis import Analysis
from stream.sinks.options import InfluxOptions
from stream.topics import DECISIONS, FORECASTS, HONESTY, INPUT, REACTIONS, SCORES, SERVICE
from tests.stream.sinks.rig import Rig

MONITOR = "cold-room"
MONITORED_DAYS = 120
Told = dict[str, list[bytes]]


class Life:
    """A seeded neighbourhood under the service's care, in one thread. `pass_hour` gives what the log gets of an hour."""

    def __init__(self, seed: int, homes: int) -> None:
        self.neighbourhood = Neighbourhood(seed, homes, troubles=ROUGH)
        self.catalogue: Catalogue = resolve(_with_monitor(self.neighbourhood.fleet), load_profiles())
        self._monitor = _monitored(seed)
        self.names = MemoryNames()
        self._intake = Intake(self.catalogue, self.names, readers=installed())
        self._analysis = Analysis(self.catalogue, self.names, load_scorer("run-out"))
        self._engine = Engine(self.catalogue)
        self._store = MemoryStore()
        self._offset = 0
        self.judged = 0
        self.judged_in_90 = 0
        self.meters = Meters("up", "here", monotonic=lambda: (self.neighbourhood.now_ms - START_MS) / 1000.0)
        self._counted: Stepped = self._wire()
        self._figures = Snapshots(self.meters)

    def _wire(self) -> Stepped:
        self.meters.pull("starloop_readings_total", lambda: self._intake.taken)
        self.meters.pull("starloop_messages_total", lambda: self._offset)
        self.meters.pull("starloop_quarantined_total", lambda: self._intake.quarantined)
        watch_stream(self.meters)
        return watch_reactor(self.meters)

    def pass_hour(self) -> Told:
        """What happened within the hour, and the tick at its end."""
        at_ms = self.neighbourhood.now_ms + HOUR_MS
        for event in self.neighbourhood.advance(at_ms):
            self._intake.take(event.topic, orjson.dumps(event.payload), event.at_ms)
        for message in self._monitor.arrived(at_ms):
            self._intake.take(message.topic, orjson.dumps(message.payload), message.arrive_ms)
        self._intake.put(Tick(at_ms=at_ms))
        told: Told = {INPUT: []}
        for one in self._intake.drain():
            if not isinstance(one, Quarantined):
                told[INPUT].append(encode(one))
                self._take(one, told)
        told[SERVICE] = [record("up", "here", at_ms, self._figures.take())]
        return told

    def _take(self, one: Record, told: Told) -> None:
        begun_s = perf_counter()
        facts = self._analysis.take(self._offset, one)
        self._offset += 1
        if facts is None:
            return
        watched = self._analysis.watched()
        self.meters.decision_seconds.observe(perf_counter() - begun_s)
        levels = [judged.level for judged in watched[HONESTY]]
        self.meters.honesty.judged(levels)
        self.judged += len(levels)
        self.judged_in_90 += sum(0.05 <= level <= 0.95 for level in levels)
        told[FORECASTS], told[HONESTY] = [orjson.dumps(watched[FORECASTS])], [orjson.dumps(watched[HONESTY])]
        told[SCORES] = [orjson.dumps(watched[SCORES])]
        step = self._engine.step(facts)
        self._store.commit(step, self._engine.catalogue)
        self._counted(step)
        told[DECISIONS] = [orjson.dumps(decided(step))]
        told[REACTIONS] = [event_bytes(reaction) for reaction in step.reactions]
        for reaction in step.reactions:
            self.neighbourhood.react(reaction.line())


def _with_monitor(fleet: Fleet) -> Fleet:
    """The fleet, and in its first home a cold room whose power is watched: the neighbourhood has no part that is scored."""
    monitor = Device(id=MONITOR, customer=fleet.customers[0].id, profile="generic-monitor")
    return fleet.model_copy(update={"devices": (*fleet.devices, monitor)})


def _monitored(seed: int) -> Chain:
    """What the cold room sends, every ten minutes of `MONITORED_DAYS`: power that goes with the weather, and a sensor's spikes."""
    chance = np.random.default_rng([seed, 7])
    warmth = daily_temperature_c(chance, 1, MONITORED_DAYS, START_MS // DAY_MS)[0]
    chain = Chain([Spikes(chance, share=0.001, span=2000.0)])
    for sent_ms in range(START_MS, START_MS + MONITORED_DAYS * DAY_MS, 10 * MINUTE_MS):
        power = 400.0 + 8.0 * warmth[(sent_ms - START_MS) // DAY_MS] + chance.normal(0.0, 10.0)
        payload = {"at": sent_ms / 1000.0, "values": {"power": float(power)}}
        topic = f"starloop/v1/{MONITOR}/telemetry"
        chain.send(Message(sent_ms=sent_ms, arrive_ms=sent_ms, topic=topic, payload=payload))
    return chain


def decided(step: Step) -> dict[str, Any]:
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
        for reaction, one in step.said
    ]
    return {"at_ms": step.at_ms, "decisions": decisions, "outcomes": outcomes}


async def live(folder: Path, options: InfluxOptions, *, seed: int, homes: int, days: int) -> tuple[Rig, Life]:
    """Lives so many days, on a log on disk that the sink can follow."""
    life = Life(seed, homes)
    rig = Rig(folder, options)
    rig.catalogue = life.catalogue
    rig.names = life.names  # type: ignore[assignment]
    await rig.client.start()
    for _ in range(days):
        gathered: Told = {}
        for _ in range(DAY_MS // HOUR_MS):
            for topic, values in life.pass_hour().items():
                gathered.setdefault(topic, []).extend(values)
        for topic, values in gathered.items():
            await rig.append(topic, *values)
    return rig, life
