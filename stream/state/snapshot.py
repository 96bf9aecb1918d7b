"""Blocks of an analysis as bytes, and back: which rows and extras of its parts lie in a block.

The layout of the bytes is state.py's. What is kept besides columns goes by device name, as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from star.analyse import RefillStage, RefillUpdate
from star.records import EVENT_CODES, Event
from stream.state.state_table import Rows, ShardContents, Table, pack_shard, unpack_shard

if TYPE_CHECKING:
    from stream.analysis import Analysis


def tables_of(analysis: Analysis) -> dict[str, Table]:
    """Every table of an analysis by its name in the blocks."""
    dedup, slots = analysis.dedup, analysis.slots
    covariate_tables = (slots.covariates.table, slots.covariates.temperatures.table)
    tables = (dedup.devices, dedup.metrics, slots.table, analysis.service.table, *covariate_tables)
    return {table.name: table for table in tables}


def snapshot_shard(analysis: Analysis, shard: int, offset: int) -> bytes:
    """The bytes of a block that includes all up to `offset`."""
    tables = tables_of(analysis)
    rows = {name: _rows_in_shard(analysis, table, shard) for name, table in tables.items()}
    devices = rows["dedup_devices"]
    names = sorted(analysis.dedup.devices.names[row] for row in devices.tolist())
    extras = {name: _extras_of(analysis, name) for name in names}
    dedup = analysis.dedup.snapshot(devices, rows["dedup_metrics"])
    packed = {"devices": {name: kept for name, kept in extras.items() if kept}, "dedup": dedup}
    return pack_shard(offset, names, {name: (tables[name], rows[name]) for name in tables}, packed)


def _rows_in_shard(analysis: Analysis, table: Table, shard: int) -> Rows:
    return np.nonzero(analysis._shards.shard_of_device[table.device[: len(table)]] == shard)[0]


def _extras_of(analysis: Analysis, device: str) -> dict[str, Any]:
    row = analysis.dedup.devices.row(device)
    kept: dict[str, Any] = {}
    if ids := analysis._seen_ids.snapshot(device):
        kept["ids"] = [[key, at_ms] for key, at_ms in ids]
    refills = [refill for refill_row, refill in analysis._emitted_refills() if refill_row == row]
    if refills:
        kept["told"] = [asdict(refill) for refill in refills]
    if condition := analysis.condition.snapshot(row):
        kept["condition"] = condition
    return kept


def restore_shards(analysis: Analysis, shards: Mapping[str, bytes]) -> None:
    """Fills a new analysis with the rows of `blocks`; of a device in several, those of the newest. Raises LogDamaged."""
    opened = {int(key.rpartition("-")[2]): unpack_shard(wire) for key, wire in shards.items()}
    home: dict[str, int] = {}
    for number, shard in sorted(opened.items()):
        for device in shard.devices:
            if device not in home or shard.offset > opened[home[device]].offset:
                home[device] = number
    for number, shard in sorted(opened.items()):
        _restore_shard(analysis, number, shard, {device for device, at in home.items() if at == number})


def _restore_shard(analysis: Analysis, number: int, shard: ShardContents, wanted: set[str]) -> None:
    tables = tables_of(analysis)
    rows_of_device = dict.fromkeys(wanted, 0)
    for name, (names, _, _) in shard.rows.items():
        for item in names:
            device = item.split("/", 1)[0]
            if device in wanted and name in ("slots", "parts"):
                rows_of_device[device] += 1
    for device in sorted(wanted):
        row = analysis.dedup.add_device(device, len(analysis.dedup.devices))
        analysis._shards.add(row, max(1, rows_of_device[device]), shard=number, included_offset=shard.offset)
    for name, (names, _, matrices) in shard.rows.items():
        table = tables[name]
        at = [place for place, item in enumerate(names) if item.split("/", 1)[0] in wanted]
        rows = [table.add(names[place], analysis.dedup.devices.row(names[place].split("/", 1)[0])) for place in at]
        for matrix, values in matrices.items():
            table[matrix][rows] = values[at]
    _restore_extras(analysis, shard, wanted)


def _restore_extras(analysis: Analysis, shard: ShardContents, wanted: set[str]) -> None:
    dedup = shard.extras["dedup"]
    of_wanted = {
        kind: {name: kept for name, kept in dedup[kind].items() if name.split("/", 1)[0] in wanted} for kind in dedup
    }
    analysis.dedup.restore(of_wanted)
    for device, kept in shard.extras["devices"].items():
        if device not in wanted:
            continue
        row = analysis.dedup.devices.row(device)
        if "ids" in kept:
            analysis._seen_ids.restore(device, kept["ids"])
        if "condition" in kept:
            analysis.condition.restore(row, kept["condition"])
        for fields in kept.get("told", ()):
            refill = RefillUpdate(**{**fields, "stage": RefillStage(fields["stage"])})
            slot = analysis.slots.table.index.get(refill.item)
            refills = analysis.slots.emitted_refills if slot is not None else analysis.service.emitted_refills
            refills.append((slot if slot is not None else analysis.service.table.row(refill.item), refill))


def event_fields(event: Event) -> list[Any]:
    """An event as `[letter, fields]`, as facts carry it."""
    return [EVENT_CODES[type(event)], asdict(event)]
