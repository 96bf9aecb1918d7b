"""The bytes of a state shard: a JSON header, then the values of its tables.

A shard holds everything that is known of its devices, whatever table it is in, so that each shard is consistent by itself.
Rows, tables, matrices and columns go by name. Which rows lie in which shard, and when one is written, is decided elsewhere.

Formats: 1 (until 0.1) has the columns' former names and no `detectors`; 2 names, for each table, the detector that it belongs to.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from star.errors import LogDamaged, check_format
from stream.state.state_table import Matrix, Rows, Table, device_of

FORMAT = 2
"""The format that is written; it and all earlier ones are read."""

_MAGIC = b"SLB"
_HEAD = struct.Struct("<3scII")  # magic, format as a digit, length of the header, crc32 of all that follows


class MatrixValues(NamedTuple):
    """A matrix as a shard holds it: the names of its columns and (rows, columns) values."""

    columns: tuple[str, ...]
    values: Matrix


class TableRows(NamedTuple):
    """A table's rows in a shard. devices: of each row, the place of its device in the shard. detector: whose table it is, or
    None where it is no detector's or the format does not say."""

    names: tuple[str, ...]
    devices: tuple[int, ...]
    matrices: Mapping[str, MatrixValues]
    detector: str | None


@dataclass(frozen=True, slots=True)
class ShardContents:
    """What a shard's bytes hold. offset: of the last record that it includes. extras: by kind, then by device: JSON values."""

    format: int
    offset: int
    devices: tuple[str, ...]
    rows: Mapping[str, TableRows]
    extras: Mapping[str, Mapping[str, Any]]


def pack_shard(
    offset: int,
    devices: Sequence[str],
    tables: Mapping[str, tuple[Table, Rows]],
    extras: Mapping[str, Mapping[str, Any]],
    detectors: Mapping[str, str] | None = None,
) -> bytes:
    """A shard's bytes. devices: in order; detectors: by table, whose it is. Rows of a table are put in the order of their names."""
    places = {device: place for place, device in enumerate(devices)}
    rows_of: dict[str, TableRows] = {}
    for name, (table, rows) in tables.items():
        ordered = sorted(rows.tolist(), key=table.names.__getitem__)
        names = tuple(table.names[row] for row in ordered)
        matrices = {spec.name: MatrixValues(spec.names, table[spec.name][ordered]) for spec in table.matrices}
        owner = (detectors or {}).get(name)
        rows_of[name] = TableRows(names, tuple(places[device_of(item)] for item in names), matrices, owner)
    return _encode(ShardContents(FORMAT, offset, tuple(devices), rows_of, extras))


def unpack_shard(wire: bytes) -> ShardContents:
    """The shard of `pack_shard`'s bytes. Raises LogDamaged where they are not whole, NewerFormat for a later format."""
    if len(wire) < _HEAD.size:
        raise LogDamaged(f"a state shard has {len(wire)} bytes: expected at least {_HEAD.size}")
    magic, digit, length, crc = _HEAD.unpack_from(wire)
    if magic != _MAGIC or not digit.isdigit():
        raise LogDamaged(f"a state shard starts with {magic + digit!r}: expected {_MAGIC!r} and a digit")
    check_format("a state shard", int(digit), FORMAT)
    if zlib.crc32(memoryview(wire)[_HEAD.size :]) != crc:
        raise LogDamaged("a state shard is damaged: its checksum does not match its bytes")
    header = json.loads(wire[_HEAD.size : _HEAD.size + length])
    start = _HEAD.size + length
    rows: dict[str, TableRows] = {}
    for name, table in header["tables"].items():
        count = len(table["names"])
        matrices: dict[str, MatrixValues] = {}
        for matrix, dtype, columns in table["matrices"]:
            values: Matrix = np.frombuffer(wire, dtype=dtype, count=count * len(columns), offset=start)
            matrices[matrix] = MatrixValues(tuple(columns), values.reshape(count, len(columns)))
            start += values.nbytes
        rows[name] = TableRows(tuple(table["names"]), tuple(table["devices"]), matrices, table.get("detector"))
    return ShardContents(int(digit), header["offset"], tuple(header["devices"]), rows, header["extras"])


def drop_devices(wire: bytes, gone: Set[str]) -> bytes:
    """A shard's bytes without the rows and extras of some devices, in the format that it has. Raises as `unpack_shard`."""
    shard = unpack_shard(wire)
    kept = tuple(device for device in shard.devices if device not in gone)
    places = {device: place for place, device in enumerate(kept)}
    rows: dict[str, TableRows] = {}
    for name, table in shard.rows.items():
        stays = [place for place, item in enumerate(table.names) if device_of(item) not in gone]
        names = tuple(table.names[place] for place in stays)
        matrices = {key: MatrixValues(columns, values[stays]) for key, (columns, values) in table.matrices.items()}
        rows[name] = TableRows(names, tuple(places[device_of(item)] for item in names), matrices, table.detector)
    extras: dict[str, Mapping[str, Any]] = {
        "devices": _without(shard.extras.get("devices", {}), gone),
        "dedup": {kind: _without(of_kind, gone) for kind, of_kind in shard.extras.get("dedup", {}).items()},
    }
    return _encode(ShardContents(shard.format, shard.offset, kept, rows, extras))


def _without(extras: Mapping[str, Any], gone: Set[str]) -> dict[str, Any]:
    return {name: value for name, value in extras.items() if device_of(name) not in gone}


def _encode(shard: ShardContents) -> bytes:
    header: dict[str, Any] = {"offset": shard.offset, "devices": shard.devices, "tables": {}, "extras": shard.extras}
    body: list[bytes] = []
    for name, table in sorted(shard.rows.items()):  # the keys of the header are sorted too, and are read in that order
        header["tables"][name] = {
            "names": table.names,
            "devices": table.devices,
            "matrices": [[key, values.dtype.str, columns] for key, (columns, values) in table.matrices.items()],
        }
        if table.detector is not None:
            header["tables"][name]["detector"] = table.detector
        body.extend(values.tobytes() for _, values in table.matrices.values())
    head = json.dumps(header, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    rest = b"".join((head, *body))
    return _HEAD.pack(_MAGIC, str(shard.format).encode(), len(head), zlib.crc32(rest)) + rest
