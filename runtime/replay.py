"""Replay: recorded or lockstep input through the same analysis and decision code as live, in event time, at full speed.

Input and output are the JSON Lines of the public protocol (docs/reference/replay.md). Time advances by the lines only, and
decisions are printed at ticks. The output is a pure function of the input: no clock, no randomness, and no dependence on how
lines are batched.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from config.catalogue import Catalogue
from edge.decoder import Decoder
from reactor.decision.reorder_policy import p_stockout_before_delivery
from reactor.engine import Engine
from reactor.store.memory import MemoryMetricRegistry
from runtime.replay_protocol import LineDecoder, is_blank, line_time_ms
from star.analyse import ConditionScore, Forecast
from star.errors import BadPayload
from star.ids import ItemId
from star.ports import MetricRegistry, Scorer
from star.records import Quarantined, Record, Tick
from star.times import DAY_MS, epoch_seconds
from stream.analysis import Analysis

BATCH_LINES_MAX = 8_192
"""Lines decoded before their records are analysed: bounds memory over a long stretch without a tick."""


class Replay:
    """The whole loop as a function of input lines.

    `feed(line)` returns the output lines to print after an input line, which only a tick has. `finish()` returns the output left
    at the end of input: quarantined lines and scores, as decisions are made at ticks only.
    emit: which of "reactions", "forecasts", "scores" are printed. Quarantined lines and ticks always are.
    """

    def __init__(self, catalogue: Catalogue, scorer: Scorer, emit: frozenset[str]) -> None:
        names: MetricRegistry = MemoryMetricRegistry()
        self._line_decoder = LineDecoder(Decoder(catalogue, names))
        self._analysis = Analysis(catalogue, names, scorer)
        self._engine = Engine(catalogue)
        self._emit = emit
        self._offset = 0
        self._lines_pending = 0
        self._last_tick_ms = 0
        self._output: list[bytes] = []

    def feed(self, line: bytes) -> list[bytes]:
        """The output lines to print after `line`. A line that can't be decoded is quarantined; it raises nothing."""
        if is_blank(line):
            return []
        try:
            ticked = self._line_decoder.ingest(line)
        except BadPayload as error:
            self._flush()  # quarantined lines are printed in their order
            at_ms = self._line_decoder.at_ms or 0
            self._quarantine(Quarantined(at_ms=at_ms, topic=None, payload=line, reason=str(error)))
            return []
        self._lines_pending += 1
        if ticked or self._lines_pending >= BATCH_LINES_MAX:
            self._flush()
        return self._pop_output() if ticked else []

    def finish(self) -> list[bytes]:
        """The output lines left at the end of input."""
        self._flush()
        return self._pop_output()

    def forecast_lines(self) -> list[bytes]:
        """The forecasts at the last tick, as `emit` would have printed them, for callers in this process that need them rarely."""
        at_ms = self._last_tick_ms
        return [self._forecast_line(forecast, at_ms) for forecast in self._analysis.forecasts(at_ms)]

    def _flush(self) -> None:
        self._lines_pending = 0
        for record in self._line_decoder.drain():
            if isinstance(record, Quarantined):
                self._quarantine(record)
            elif isinstance(record, Tick):
                self._process_tick(record)
            else:
                self._analyse(record)

    def _analyse(self, record: Record) -> None:
        self._offset += 1
        self._analysis.ingest(self._offset, record)
        if "scores" in self._emit:
            self._output.extend(_encode_score(score) for score in self._analysis.drain_scores())

    def _process_tick(self, tick: Tick) -> None:
        at_ms = self._last_tick_ms = tick.at_ms
        self._offset += 1
        facts = self._analysis.ingest(self._offset, tick)
        if facts is None:
            raise AssertionError("the analysis returned no facts for a tick")
        step = self._engine.step(facts)
        for notice in step.unmatched:
            self._output.append(
                _encode_line({"at": epoch_seconds(at_ms), "type": "quarantined", "topic": None, "reason": notice})
            )
        if "reactions" in self._emit:
            self._output.extend(_encode_line(reaction.replay_line()) for reaction in step.reactions)
        if "forecasts" in self._emit:
            self._output.extend(self.forecast_lines())
        self._output.append(_encode_line({"at": epoch_seconds(at_ms), "tick": True}))

    def _forecast_line(self, forecast: Forecast, at_ms: int) -> bytes:
        item = ItemId.parse(forecast.item)
        return _encode_line(
            {
                "at": epoch_seconds(at_ms),
                "type": "forecast",
                "device": item.device,
                "slot": item.name,
                "level": forecast.level,
                "days_to_empty": forecast.published_quantiles(),
                "p_out_before_delivery": p_stockout_before_delivery(forecast, self._engine.lead_time_of(forecast.item)),
                "trust": round(forecast.trust, 4),
            }
        )

    def _quarantine(self, row: Quarantined) -> None:
        self._output.append(
            _encode_line(
                {"at": epoch_seconds(row.at_ms), "type": "quarantined", "topic": row.topic, "reason": row.reason}
            )
        )

    def _pop_output(self) -> list[bytes]:
        out, self._output = self._output, []
        return out


class AssumedDeliveries:
    """Delivery outcomes for the orders of a replay whose history holds none.

    Each order is delivered in full after the geometric mean of its supplier's stated lead times. `observe(output)` takes the
    printed lines; `due(at_ms)` returns the outcome lines due by then.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._pending: list[tuple[int, str, float]] = []

    def observe(self, output: Iterable[bytes]) -> None:
        """Schedules a delivery for each order among the printed lines, and drops those of cancelled orders."""
        for line in output:
            if b'"starloop.order.' not in line:
                continue
            event = orjson.loads(line)
            if event["type"] == "starloop.order.cancelled":
                self._pending = [row for row in self._pending if row[1] != event["data"]["order"]]
                continue
            low, high = self._catalogue.suppliers[event["data"]["supplier"]].lead_time_days
            arrives_ms = round(event["at"] * 1000 + (low * high) ** 0.5 * DAY_MS)
            heapq.heappush(self._pending, (arrives_ms, event["id"], event["data"]["quantity"]))

    def due(self, at_ms: int) -> Iterator[bytes]:
        """The outcome lines of the deliveries due by `at_ms`, in order of time."""
        while self._pending and self._pending[0][0] <= at_ms:
            arrives_ms, order, quantity = heapq.heappop(self._pending)
            outcome = {"id": f"{order}:assumed", "reaction": order, "result": "delivered", "quantity": quantity}
            yield _encode_line({"at": epoch_seconds(arrives_ms), "outcome": outcome})


def insert_ticks(lines: Iterable[bytes], every_ms: int) -> Iterator[bytes]:
    """The lines with a tick inserted at every multiple of `every_ms` that they pass, and one after the last line.

    A tick at T follows every line up to and including T. Lines whose time can't be decoded pass unchanged.
    """
    next_ms: int | None = None
    for line in lines:
        at_ms = line_time_ms(line)
        if at_ms is None:
            yield line
            continue
        while next_ms is not None and next_ms < at_ms:
            yield _encode_line({"at": epoch_seconds(next_ms), "tick": True})
            next_ms += every_ms
        yield line
        if next_ms is None:
            next_ms = -(-at_ms // every_ms) * every_ms
    if next_ms is not None:
        yield _encode_line({"at": epoch_seconds(next_ms), "tick": True})


def _encode_score(score: ConditionScore) -> bytes:
    life = score.remaining_life
    return _encode_line(
        {
            "at": epoch_seconds(score.at_ms),
            "type": "score",
            "device": score.device,
            "item": score.item,
            "anomaly": score.anomaly,
            "alert": score.alert,
            "remaining_life": None if life is None else {"0.05": life[0], "0.5": life[1], "0.95": life[2]},
        }
    )


def _encode_line(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields) + b"\n"
