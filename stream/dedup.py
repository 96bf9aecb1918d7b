"""Deduplication: of two readings of a device with the same (boot, seq), or the same (at, name), the later one is dropped.

(boot, seq) counts where a device gives both, else (at, name). All values of a message have the same (boot, seq): a message is
a run of a device's readings with the same boot, seq, measured and arrival time, and within it only the same name twice is a
duplicate. Readings in order are handled in vectorised form, those of devices that are out of order one by one, and both leave
the same state. A reading older than the limits below counts as new, as losing one is worse than counting one twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from star.sense import Readings
from star.times import DAY_MS
from stream.state.state_table import MatrixSpec, Rows, Table

BOOTS_MAX = 4
"""Boots of a device remembered besides the present one."""
RANGES_MAX = 512
"""Separate ranges of sequence numbers remembered of a boot; the lowest is forgotten first."""
RECENT_MAX = 16
"""Latest measured times remembered of each metric without sequence numbers."""
LATE_MAX = 1_024
"""Times remembered of each such metric that were measured before its latest one."""
AHEAD_MAX_MS = DAY_MS
"""A measured time further in the future of its arrival does not count as the latest: a wrong clock would make the rest late."""

DEVICE_STATE_NAMES = (
    "boot",
    "low",
    "next",
    "message_boot",
    "message_seq",
    "message_at_ms",
    "message_arrived_ms",
    "message_dropped",
    "message",
    "dropped",
)
FORMER_DEVICE_STATE_NAMES = {
    name.replace("message_", "in_"): name for name in DEVICE_STATE_NAMES if name.startswith("message_")
}
"""Names of columns in state of format 1."""
BOOT, LOW, NEXT, MESSAGE_BOOT, MESSAGE_SEQ, MESSAGE_AT, MESSAGE_ARRIVED, MESSAGE_DROPPED, MESSAGE, DROPPED = range(
    len(DEVICE_STATE_NAMES)
)
METRIC_STATE_NAMES = ("message", "latest_ms", "count", *(f"recent_{n}" for n in range(RECENT_MAX)))
IN_MESSAGE, LATEST_MS, COUNT, RECENT = 0, 1, 2, 3

Bools = NDArray[np.bool_]
Int64 = NDArray[np.int64]
_NEVER = -(1 << 62)
Ranges = list[list[int]]


class Deduplicator:
    """What was received of each device and metric: numbers and times, in tables, with ranges and late times besides."""

    def __init__(self) -> None:
        of_device = MatrixSpec(
            name="seen", names=DEVICE_STATE_NAMES, fill=-1, dtype="<i8", renamed=FORMER_DEVICE_STATE_NAMES
        )
        of_metric = MatrixSpec(name="seen", names=METRIC_STATE_NAMES, fill=_NEVER, dtype="<i8")
        self.devices = Table("dedup_devices", [of_device])
        self.metrics = Table("dedup_metrics", [of_metric])
        self._ranges: dict[int, dict[int, Ranges]] = {}  # device row -> boot -> ranges besides the one in the columns
        self._late: dict[int, dict[int, None]] = {}  # metric row -> late measured times

    def add_device(self, name: str, device: int) -> int:
        """The row of a device, which is added where it is new. device: the number that is to be its row in `Table.device`."""
        row = self.devices.add(name, device)
        columns = self.devices["seen"]
        if columns[row, MESSAGE] < 0:
            columns[row, MESSAGE] = columns[row, DROPPED] = 0
        return row

    def add_metric(self, name: str, device: int) -> int:
        """The row of a metric `device/name`, which is added where it is new. device: its device's row."""
        row = self.metrics.add(name, device)
        columns = self.metrics["seen"]
        if columns[row, COUNT] < 0:
            columns[row, COUNT] = 0
        return row

    def dropped(self) -> dict[str, int]:
        """Number of duplicates dropped so far, by device, where there were any."""
        counts = self.devices["seen"][: len(self.devices), DROPPED].tolist()
        return {name: count for name, count in zip(self.devices.names, counts, strict=True) if count > 0}

    def mask_new(self, readings: Readings, device: Rows, metric: Rows) -> Bools:
        """(n,) mask of the readings that are new; they are remembered. device, metric: (n,) rows of the tables here."""
        numbered = (readings.boot >= 0) & (readings.seq >= 0)
        keep = np.empty(len(readings), dtype=np.bool_)
        if numbered.any():
            at = np.nonzero(numbered)[0]
            keep[at] = self._by_number(readings.select(at), device[at], metric[at])
        if not numbered.all():
            at = np.nonzero(~numbered)[0]
            keep[at] = self._by_time(readings.select(at), metric[at])
        if not keep.all():
            np.add.at(self.devices["seen"][:, DROPPED], device[~keep], 1)
        return keep

    def _by_number(self, readings: Readings, device: Rows, metric: Rows) -> Bools:
        order = np.argsort(device, kind="stable")
        dev, met = device[order], metric[order]
        boot, seq = readings.boot[order], readings.seq[order]
        at_ms, arrived_ms = readings.at_ms[order], readings.arrived_ms[order]
        table = self.devices["seen"]
        first = np.empty(dev.size, dtype=np.bool_)
        first[0] = True
        np.not_equal(dev[1:], dev[:-1], out=first[1:])
        begins = first.copy()
        for column in (boot, seq, at_ms, arrived_ms):
            begins[1:] |= column[1:] != column[:-1]
        starts = np.nonzero(first)[0]
        head = table[dev[starts]]
        goes_on = (
            (head[:, MESSAGE_BOOT] == boot[starts])
            & (head[:, MESSAGE_SEQ] == seq[starts])
            & (head[:, MESSAGE_AT] == at_ms[starts])
            & (head[:, MESSAGE_ARRIVED] == arrived_ms[starts])
        )
        begins[starts[goes_on]] = False
        so_far = np.cumsum(begins)
        group = np.cumsum(first) - 1
        nth: Int64 = (
            so_far - (so_far[starts] - begins[starts])[group]
        )  # messages begun by each reading's device in this batch
        dropped = head[group, MESSAGE_DROPPED] == 1
        new = np.nonzero(begins)[0]
        if new.size:
            new_dropped = self._messages(dev[new], boot[new], seq[new], nth[new] - 1)
            dropped = np.where(nth > 0, new_dropped[np.maximum(so_far - 1, 0)], dropped)
        ordinal = head[group, MESSAGE] + nth
        keep = ~dropped & self._new_in_message(met, ordinal)
        last = np.append(starts[1:], dev.size) - 1
        rows = dev[last]
        table[rows, MESSAGE_BOOT], table[rows, MESSAGE_SEQ] = boot[last], seq[last]
        table[rows, MESSAGE_AT], table[rows, MESSAGE_ARRIVED] = at_ms[last], arrived_ms[last]
        table[rows, MESSAGE_DROPPED], table[rows, MESSAGE] = dropped[last], ordinal[last]
        result = np.empty(dev.size, dtype=np.bool_)
        result[order] = keep
        return result

    def _messages(self, dev: Rows, boot: Int64, seq: Int64, nth: Int64) -> Bools:
        """(messages,) mask of those received before. They are sorted by device; nth: place among the device's in this batch."""
        table = self.devices["seen"]
        expected = (table[dev, BOOT] == boot) & (table[dev, NEXT] + nth == seq)
        starts = np.nonzero(np.append(True, dev[1:] != dev[:-1]))[0]
        in_order = np.logical_and.reduceat(expected, starts)
        counts = np.diff(np.append(starts, dev.size))
        rows = dev[starts]
        table[rows[in_order], NEXT] += counts[in_order]
        dropped = np.zeros(dev.size, dtype=np.bool_)
        for start, count in zip(starts[~in_order].tolist(), counts[~in_order].tolist(), strict=True):
            for at in range(start, start + count):
                dropped[at] = not self._receive(int(dev[at]), int(boot[at]), int(seq[at]))
        return dropped

    def _receive(self, row: int, boot: int, seq: int) -> bool:
        """Whether message `seq` of `boot` is new; it is remembered."""
        table = self.devices["seen"]
        now, low, following = (int(v) for v in table[row, (BOOT, LOW, NEXT)])
        if boot == now and seq == following:
            table[row, NEXT] = seq + 1  # the range in the columns is the boot's highest: it reaches no other
            return True
        boots = self._ranges.pop(row, {})
        if now >= 0:
            boots.setdefault(now, []).append([low, following])
        ranges = boots.pop(boot, [])
        new = not any(start <= seq < end for start, end in ranges)
        if new:
            ranges = _inserted(ranges, seq)
            now = boot
        boots[boot] = ranges  # last: the one most lately spoken of
        low, following = boots[now].pop()
        table[row, (BOOT, LOW, NEXT)] = now, low, following
        self._retain(row, boots, now)
        return new

    def _retain(self, row: int, boots: dict[int, Ranges], now: int) -> None:
        left = {boot: ranges[-RANGES_MAX:] for boot, ranges in boots.items() if ranges}
        while len(left) - (now in left) > BOOTS_MAX:
            left.pop(next(boot for boot in left if boot != now))
        if left:
            self._ranges[row] = left

    def _new_in_message(self, metric: Rows, ordinal: Int64) -> Bools:
        """(n,) mask of the metrics that were not in their message before."""
        table = self.metrics["seen"]
        new: Bools = table[metric, IN_MESSAGE] != ordinal
        order = np.lexsort((ordinal, metric))
        met, word = metric[order], ordinal[order]
        again = (met[1:] == met[:-1]) & (word[1:] == word[:-1])
        new[order[1:][again]] = False
        table[metric, IN_MESSAGE] = ordinal  # of equal metrics the last one in the batch stands
        return new

    def _by_time(self, readings: Readings, metric: Rows) -> Bools:
        order = np.argsort(metric, kind="stable")
        met, at_ms, arrived_ms = metric[order], readings.at_ms[order], readings.arrived_ms[order]
        table = self.metrics["seen"]
        first = np.append(True, met[1:] != met[:-1])
        before = np.empty(met.size, dtype=np.int64)
        before[1:] = at_ms[:-1]
        before[first] = table[met[first], LATEST_MS]
        rises = (at_ms > before) & (at_ms <= arrived_ms + AHEAD_MAX_MS)
        starts = np.nonzero(first)[0]
        in_order = np.logical_and.reduceat(rises, starts)
        counts = np.diff(np.append(starts, met.size))
        keep = np.ones(met.size, dtype=np.bool_)
        self._remember(met, at_ms, np.repeat(in_order, counts), starts, counts)
        for start, count in zip(starts[~in_order].tolist(), counts[~in_order].tolist(), strict=True):
            for at in range(start, start + count):
                keep[at] = self._receive_at(int(met[at]), int(at_ms[at]), int(arrived_ms[at]))
        result = np.empty(met.size, dtype=np.bool_)
        result[order] = keep
        return result

    def _remember(self, met: Rows, at_ms: Int64, which: Bools, starts: Rows, counts: Rows) -> None:
        """Stores the times of metrics in order (`which`)."""
        if not which.any():
            return
        table = self.metrics["seen"]
        nth = np.arange(met.size) - np.repeat(starts, counts)
        kept = which & (nth >= np.repeat(counts, counts) - RECENT_MAX)
        rows = met[kept]
        table[rows, RECENT + (table[rows, COUNT] + nth[kept]) % RECENT_MAX] = at_ms[kept]
        ends = starts + counts - 1
        done = which[ends]
        table[met[ends[done]], LATEST_MS] = at_ms[ends[done]]
        table[met[ends[done]], COUNT] += counts[done]

    def _receive_at(self, row: int, at_ms: int, arrived_ms: int) -> bool:
        """Whether the metric's reading measured at `at_ms` is new; it is remembered."""
        seen = self.metrics["seen"][row]
        if seen[LATEST_MS] < at_ms <= arrived_ms + AHEAD_MAX_MS:
            seen[RECENT + int(seen[COUNT]) % RECENT_MAX] = at_ms
            seen[LATEST_MS] = at_ms
            seen[COUNT] += 1
            return True
        late = self._late.setdefault(row, {})
        if at_ms in late or (seen[RECENT:] == at_ms).any():
            return False
        late[at_ms] = None
        if len(late) > LATE_MAX:
            del late[next(iter(late))]
        return True

    def snapshot(self, device_rows: Rows, metric_rows: Rows) -> dict[str, Any]:
        """Ranges and late times of these rows, by name, as JSON values for a checkpoint."""
        ranges = {
            self.devices.names[row]: [[boot, spans] for boot, spans in self._ranges[row].items()]
            for row in device_rows.tolist()
            if row in self._ranges
        }
        late = {self.metrics.names[row]: list(self._late[row]) for row in metric_rows.tolist() if self._late.get(row)}
        return {"ranges": ranges, "late": late}

    def restore(self, extras: dict[str, Any]) -> None:
        """Takes back what `snapshot` gave; the rows have to be in the tables."""
        for name, boots in extras["ranges"].items():
            self._ranges[self.devices.row(name)] = dict(boots)
        for name, times in extras["late"].items():
            self._late[self.metrics.row(name)] = dict.fromkeys(times)


def _inserted(ranges: Ranges, seq: int) -> Ranges:
    """The ranges with `seq` added, ascending and disjoint."""
    joined: Ranges = []
    for start, end in sorted([*ranges, [seq, seq + 1]]):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    return joined
