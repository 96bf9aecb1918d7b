"""Lines of readings, a batch at a time: columns in, bytes out, without an object per reading.

The device's profile, or one setting for all devices, selects the readings: all, none, or sampled. Sampling keeps each metric's
first reading in each window of event time; windows are counted from the epoch. "First" is in log order: a reading is kept
where its window differs from that of the metric's previous reading, so late readings of a device that was offline are sampled
alike. The state is one number per metric, in memory: after a restart each metric may get one extra reading.
"""

from __future__ import annotations

import numpy as np
import orjson
from numpy.typing import NDArray

from config.catalogue import Catalogue
from config.profile_schema import Profile, RawReadingsMode
from star.ports import MetricRegistry
from star.sense import Int64, Readings
from star.times import SECOND_MS
from stream.sinks.line_protocol import tags

NEVER = -(1 << 62)
"""The window before a metric's first reading."""
_UNKNOWN, _OFF, _ALL = -2, -1, 0
"""Values of `_interval_ms` that are no interval."""
_SAMPLED_BY_DEFAULT = Profile.model_fields["readings"].default
_EVERY_S_BY_DEFAULT = Profile.model_fields["readings_every_s"].default


class ReadingLines:
    """Converts readings. override: the mode of all devices; None: as their profiles say."""

    def __init__(self, names: MetricRegistry, override: RawReadingsMode | None = None) -> None:
        self._names = names
        self._override = override
        self._catalogue: Catalogue | None = None
        self._line_prefixes = np.empty(0, dtype=object)
        self._interval_ms = np.empty(0, dtype=np.int64)
        self._last_window = np.empty(0, dtype=np.int64)

    def learn_metrics(self, readings: Readings, catalogue: Catalogue) -> list[int]:
        """Caches the prefix and interval of the metrics of `readings`; gives the numbers unknown to the registry, each once.

        To be called before `lines`. A new catalogue invalidates the cache.
        """
        if catalogue is not self._catalogue:
            self._catalogue = catalogue
            self._interval_ms[:] = _UNKNOWN
        if not len(readings):
            return []
        self._grow(int(readings.metric.max()) + 1)
        missing = []
        for number in np.unique(readings.metric[self._interval_ms[readings.metric] == _UNKNOWN]).tolist():
            try:
                self._learn_metric(number, self._names.name(number), catalogue)
            except KeyError:
                missing.append(number)
        return missing

    def lines(self, readings: Readings) -> tuple[bytes, int]:
        """The lines of the selected readings, separated by line breaks, and their number."""
        kept = self._sample_mask(readings)
        if kept is not None:
            readings = readings.select(kept)
        points = len(readings)
        if points == 0:
            return b"", 0
        # A line is prefix, value and time; a prefix begins with the line break of the line before it.
        pieces: list[bytes] = [b""] * (3 * points)
        pieces[0::3] = self._line_prefixes[readings.metric].tolist()
        pieces[1::3] = _texts(readings.value)
        pieces[2::3] = _texts(readings.at_ms, before=b" ")
        return b"".join(pieces)[1:], points

    def _learn_metric(self, number: int, name: str, catalogue: Catalogue) -> None:
        device, _, metric = name.partition("/")
        known = catalogue.devices.get(device)
        tag_set = tags([("customer", known.customer if known else None), ("device", device), ("metric", metric)])
        self._line_prefixes[number] = b"\nreading" + tag_set + b" value="
        profile = catalogue.profiles.get(known.profile) if known else None
        kept = self._override or (profile.readings if profile else _SAMPLED_BY_DEFAULT)
        every_s = profile.readings_every_s if profile else _EVERY_S_BY_DEFAULT
        sampled_ms = max(1, round(every_s * SECOND_MS))
        self._interval_ms[number] = {RawReadingsMode.ALL: _ALL, RawReadingsMode.OFF: _OFF}.get(kept, sampled_ms)

    def _sample_mask(self, readings: Readings) -> NDArray[np.bool_] | None:
        """The mask of the selected readings; None selects all."""
        interval_ms = self._interval_ms[readings.metric]
        if (interval_ms == _ALL).all():
            return None
        kept: NDArray[np.bool_] = interval_ms == _ALL
        sampled = np.nonzero(interval_ms > 0)[0]
        if sampled.size:
            kept[sampled] = self._first_in_window(
                readings.metric[sampled], readings.at_ms[sampled] // interval_ms[sampled]
            )
        return kept

    def _first_in_window(self, metric: NDArray[np.int32], window: Int64) -> NDArray[np.bool_]:
        """The mask of readings in another window than their metric's previous reading; keeps each metric's last window."""
        order = np.argsort(metric, kind="stable")
        metric, window = metric[order], window[order]
        starts = np.append(True, metric[1:] != metric[:-1])
        before = np.where(starts, self._last_window[metric], np.append(NEVER, window[:-1]))
        first = np.empty(order.size, dtype=np.bool_)
        first[order] = window != before
        last = np.append(starts[1:], True)
        self._last_window[metric[last]] = window[last]
        return first

    def _grow(self, size: int) -> None:
        more = max(size, 2 * self._line_prefixes.size) - self._line_prefixes.size
        if size > self._line_prefixes.size:
            self._line_prefixes = np.append(self._line_prefixes, np.full(more, None, dtype=object))
            self._interval_ms = np.append(self._interval_ms, np.full(more, _UNKNOWN, dtype=np.int64))
            self._last_window = np.append(self._last_window, np.full(more, NEVER, dtype=np.int64))


def _texts(column: NDArray[np.generic], before: bytes = b"") -> list[bytes]:
    """Each number as the shortest text that reads back as the same number, with `before` in front."""
    native = np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("="))
    joined = orjson.dumps(native, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    return (before + joined.replace(b",", b"," + before)).split(b",")
