"""Blocks of an analysis as bytes, and back: which rows and extras of its parts lie in a block.

The layout of the bytes is state.py's. What is kept besides columns goes by device name, as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from star.analyse import RefillSeen, RefillStage
from star.records import EVENT_LETTERS, Event
from stream.state import Block, Rows, Table, pack_block, unpack_block

if TYPE_CHECKING:
    from stream.analysis import Analysis


def tables_of(analysis: Analysis) -> dict[str, Table]:
    """Every table of an analysis by its name in the blocks."""
    dedup, slots = analysis.dedup, analysis.slots
    beside = (slots.beside.table, slots.beside.temperatures.table)
    tables = (dedup.devices, dedup.metrics, slots.table, analysis.service.table, *beside)
    return {table.name: table for table in tables}


def pack(analysis: Analysis, block: int, offset: int) -> bytes:
    """The bytes of a block that includes all up to `offset`."""
    tables = tables_of(analysis)
    rows = {name: _rows_in(analysis, table, block) for name, table in tables.items()}
    devices = rows["dedup_devices"]
    names = sorted(analysis.dedup.devices.names[row] for row in devices.tolist())
    extras = {name: _extras_of(analysis, name) for name in names}
    dedup = analysis.dedup.extras(devices, rows["dedup_metrics"])
    packed = {"devices": {name: kept for name, kept in extras.items() if kept}, "dedup": dedup}
    return pack_block(offset, names, {name: (tables[name], rows[name]) for name in tables}, packed)


def _rows_in(analysis: Analysis, table: Table, block: int) -> Rows:
    return np.nonzero(analysis._blocks.of[table.device[: len(table)]] == block)[0]


def _extras_of(analysis: Analysis, device: str) -> dict[str, Any]:
    row = analysis.dedup.devices.row(device)
    kept: dict[str, Any] = {}
    if ids := analysis._ids.of(device):
        kept["ids"] = [[key, at_ms] for key, at_ms in ids]
    told = [refill for row_told, refill in analysis._devices_of_told() if row_told == row]
    if told:
        kept["told"] = [asdict(refill) for refill in told]
    if condition := analysis.condition.kept(row):
        kept["condition"] = condition
    return kept


def load_rows(analysis: Analysis, blocks: Mapping[str, bytes]) -> None:
    """Fills a new analysis with the rows of `blocks`; of a device in several, those of the newest. Raises LogDamaged."""
    opened = {int(key.rpartition("-")[2]): unpack_block(wire) for key, wire in blocks.items()}
    home: dict[str, int] = {}
    for number, block in sorted(opened.items()):
        for device in block.devices:
            if device not in home or block.offset > opened[home[device]].offset:
                home[device] = number
    for number, block in sorted(opened.items()):
        _load(analysis, number, block, {device for device, at in home.items() if at == number})


def _load(analysis: Analysis, number: int, block: Block, wanted: set[str]) -> None:
    tables = tables_of(analysis)
    rows_of_device = dict.fromkeys(wanted, 0)
    for name, (names, _, _) in block.rows.items():
        for item in names:
            device = item.split("/", 1)[0]
            if device in wanted and name in ("slots", "parts"):
                rows_of_device[device] += 1
    for device in sorted(wanted):
        row = analysis.dedup.add_device(device, len(analysis.dedup.devices))
        analysis._blocks.add(row, max(1, rows_of_device[device]), block=number, included=block.offset)
    for name, (names, _, matrices) in block.rows.items():
        table = tables[name]
        at = [place for place, item in enumerate(names) if item.split("/", 1)[0] in wanted]
        rows = [table.add(names[place], analysis.dedup.devices.row(names[place].split("/", 1)[0])) for place in at]
        for matrix, values in matrices.items():
            table[matrix][rows] = values[at]
    _load_extras(analysis, block, wanted)


def _load_extras(analysis: Analysis, block: Block, wanted: set[str]) -> None:
    dedup = block.extras["dedup"]
    of_wanted = {
        kind: {name: kept for name, kept in dedup[kind].items() if name.split("/", 1)[0] in wanted} for kind in dedup
    }
    analysis.dedup.restore(of_wanted)
    for device, kept in block.extras["devices"].items():
        if device not in wanted:
            continue
        row = analysis.dedup.devices.row(device)
        if "ids" in kept:
            analysis._ids.restore(device, kept["ids"])
        if "condition" in kept:
            analysis.condition.restore(row, kept["condition"])
        for fields in kept.get("told", ()):
            refill = RefillSeen(**{**fields, "stage": RefillStage(fields["stage"])})
            slot = analysis.slots.table.index.get(refill.item)
            told = analysis.slots.told if slot is not None else analysis.service.told
            told.append((slot if slot is not None else analysis.service.table.row(refill.item), refill))


def event_fields(event: Event) -> list[Any]:
    """An event as `[letter, fields]`, as facts carry it."""
    return [EVENT_LETTERS[type(event)], asdict(event)]
