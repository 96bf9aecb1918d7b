"""Snapshots: the state of an analysis as shards, and back. The layout of a shard's bytes is shard_file.py's.

Tables load by name, so that a build that has more columns, or other names for them, reads the state of earlier ones: new
columns start at their default. What a shard holds and this build does not know is refused by name and never dropped: the next
checkpoint would lose it.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from star.analyse import RefillStage, RefillUpdate
from star.errors import ConfigError, NewerFormat, Problem
from stream.dedup import Deduplicator
from stream.detectors import Detector
from stream.idempotency import IdempotencyKeys
from stream.state.shard_file import ShardContents, TableRows, pack_shard, unpack_shard
from stream.state.state_shards import StateShards
from stream.state.state_table import Table, device_of

EXTRAS_OF_ANALYSIS = ("ids", "told")
"""Keys of a device's extras that belong to no detector: idempotency keys, and refills that no tick has reported yet."""


class PendingRefills:
    """Refills that detectors emitted since the last tick, by device row."""

    def __init__(self) -> None:
        self._emitted: list[tuple[int, RefillUpdate]] = []

    def emit(self, device_row: int, refill: RefillUpdate) -> None:
        """One more; the facts of the next tick report it."""
        self._emitted.append((device_row, refill))

    def of_device(self, device_row: int) -> list[RefillUpdate]:
        """Those of a device."""
        return [refill for row, refill in self._emitted if row == device_row]

    def drain(self, devices_ahead: Set[int]) -> list[tuple[int, RefillUpdate]]:
        """(device row, refill) of each, in the order of item names. Those of devices whose state is ahead stay."""
        drained = [one for one in self._emitted if one[0] not in devices_ahead]
        if drained:
            self._emitted = [one for one in self._emitted if one[0] in devices_ahead]
        return sorted(drained, key=lambda one: one[1].item)


@dataclass
class AnalysisState:
    """What an analysis knows of its devices.

    detectors: by name, in the order in which they take and evaluate; the rest belongs to the analysis itself. forget_detectors:
    names of detectors, not installed any more, whose state is dropped. Raises ConfigError for detectors that clash.
    """

    detectors: Mapping[str, Detector]
    refills: PendingRefills
    forget_detectors: frozenset[str] = frozenset()
    dedup: Deduplicator = field(default_factory=Deduplicator)
    shards: StateShards = field(default_factory=StateShards)
    seen_ids: IdempotencyKeys = field(default_factory=IdempotencyKeys)

    def __post_init__(self) -> None:
        names = [table.name for detector in self.detectors.values() for table in detector.tables()]
        names += [self.dedup.devices.name, self.dedup.metrics.name]
        repeated = sorted({name for name in names if names.count(name) > 1})
        reserved = sorted(self.detectors.keys() & set(EXTRAS_OF_ANALYSIS))
        if repeated or reserved:
            message = f"{', '.join(map(repr, reserved + repeated))}: expected names that nothing else has"
            raise ConfigError(
                [Problem(file="detectors", line=None, field="tables" if repeated else "names", message=message)]
            )

    def tables(self) -> dict[str, Table]:
        """Every table by name."""
        tables = [self.dedup.devices, self.dedup.metrics]
        tables += [table for detector in self.detectors.values() for table in detector.tables()]
        return {table.name: table for table in tables}

    def owners(self) -> dict[str, str]:
        """The detector of each table that has one."""
        return {table.name: name for name, detector in self.detectors.items() for table in detector.tables()}

    def pack(self, shard: int, offset: int) -> bytes:
        """The bytes of a shard that includes all records up to `offset`."""
        rows = {
            name: (table, np.nonzero(self.shards.shard_of_device[table.device[: len(table)]] == shard)[0])
            for name, table in self.tables().items()
        }
        devices = rows[self.dedup.devices.name][1]
        names = sorted(self.dedup.devices.names[row] for row in devices.tolist())
        extras = {name: kept for name in names if (kept := self._extras(name))}
        dedup = self.dedup.snapshot(devices, rows[self.dedup.metrics.name][1])
        return pack_shard(offset, names, rows, {"devices": extras, "dedup": dedup}, self.owners())

    def _extras(self, device: str) -> dict[str, Any]:
        row = self.dedup.devices.row(device)
        kept: dict[str, Any] = {
            "ids": [[key, at_ms] for key, at_ms in self.seen_ids.snapshot(device)],
            "told": [asdict(refill) for refill in self.refills.of_device(row)],
        }
        kept |= {name: detector.snapshot(row) for name, detector in self.detectors.items()}
        return {name: value for name, value in kept.items() if value}

    def restore(self, shards: Mapping[str, bytes]) -> None:
        """Fills this new state from shards by key. A device that is in several is taken from the newest.

        Raises LogDamaged; NewerFormat for a format, matrix, column or type that this build does not know; ConfigError for the
        state of a detector that is not installed.
        """
        opened = {int(key.rpartition("-")[2]): unpack_shard(wire) for key, wire in shards.items()}
        home: dict[str, int] = {}
        for number, shard in sorted(opened.items()):
            for device in shard.devices:
                if device not in home or shard.offset > opened[home[device]].offset:
                    home[device] = number
        for number, shard in sorted(opened.items()):
            self._restore_shard(number, shard, {device for device, at in home.items() if at == number})

    def _restore_shard(self, number: int, shard: ShardContents, wanted: Set[str]) -> None:
        found = ((self._table_of(name, stored), stored) for name, stored in shard.rows.items())
        stored_tables = [(table, stored) for table, stored in found if table is not None]
        owners = self.owners()
        items: dict[str, set[str]] = {device: set() for device in wanted}
        for table, stored in stored_tables:
            for item in stored.names if table.name in owners else ():
                if "/" in item and device_of(item) in wanted:
                    items[device_of(item)].add(item)
        for device in sorted(wanted):
            row = self.dedup.add_device(device, len(self.dedup.devices))
            self.shards.add(row, max(1, len(items[device])), shard=number, included_offset=shard.offset)
        for table, stored in stored_tables:
            at = [place for place, item in enumerate(stored.names) if device_of(item) in wanted]
            names = [stored.names[place] for place in at]
            rows = [table.add(name, self.dedup.devices.row(device_of(name))) for name in names]
            for matrix, (columns, values) in stored.matrices.items():
                table.load(rows, matrix, columns, values[at])
        self._restore_extras(shard, wanted)

    def _table_of(self, name: str, stored: TableRows) -> Table | None:
        """The table that a shard calls `name`; None where its detector's state is to be forgotten."""
        for table in self.tables().values():
            if name in (table.name, table.former_name):
                return table
        if stored.detector is None or stored.detector in self.detectors:
            raise NewerFormat(
                f"the state has a table {name!r}, which this Starloop does not know: expected one of {', '.join(self.tables())}"
            )
        self._check_forgotten(stored.detector, f"the table {name!r}")
        return None

    def _check_forgotten(self, detector: str, what: str) -> None:
        if detector not in self.forget_detectors:
            message = (
                f"has {what} of the detector {detector!r}, which is not installed: install it again, or, to go on without"
                f" what it learned, add {detector!r} to STARLOOP_FORGET_DETECTORS"
            )
            raise ConfigError([Problem(file="the state of the analysis", line=None, field="", message=message)])

    def _restore_extras(self, shard: ShardContents, wanted: Set[str]) -> None:
        dedup = shard.extras["dedup"]
        self.dedup.restore(
            {kind: {name: kept for name, kept in dedup[kind].items() if device_of(name) in wanted} for kind in dedup}
        )
        for device, extras in shard.extras["devices"].items():
            if device not in wanted:
                continue
            row = self.dedup.devices.row(device)
            if "ids" in extras:
                self.seen_ids.restore(device, extras["ids"])
            for fields in extras.get("told", ()):
                self.refills.emit(row, RefillUpdate(**{**fields, "stage": RefillStage(fields["stage"])}))
            for name in extras.keys() - set(EXTRAS_OF_ANALYSIS):
                if name in self.detectors:
                    self.detectors[name].restore(row, extras[name])
                else:
                    self._check_forgotten(name, f"something of device {device!r}")
