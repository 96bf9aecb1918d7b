"""The state of items as numpy columns: tables that grow, rows known by name, and their bytes for a checkpoint.

A row's values are one line of a matrix, so that a batch gathers and scatters all columns of its rows at once. Rows belong to
blocks: everything of one device lies in one block, whatever table it is in, so that a block is right by itself. Rows are
keyed by names in the bytes; their places differ between runs, and nothing that is given out may depend on them.
What the columns mean is the detectors' business; when blocks are written is the application's.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from star.errors import LogDamaged

Rows = NDArray[np.intp]
Float64 = NDArray[np.float64]
Matrix = NDArray[Any]

SHARD_ITEMS = 256
"""Items of a block: devices are added to a block until it holds so many."""
GROW_ROWS = 256
"""The least that a table grows by."""

_MAGIC = b"SLB1"
_HEAD = struct.Struct("<4sII")  # magic, length of the header, crc32 of all after this


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixSpec:
    """One matrix of a table: `names` of its columns, what they start as, and their kind (f8, f4 or i8)."""

    name: str
    names: tuple[str, ...]
    fill: float
    dtype: str = "<f8"


class Table:
    """Rows known by name, each with a line in every matrix. A removed item keeps its row."""

    def __init__(self, name: str, matrices: Sequence[MatrixSpec]) -> None:
        self.name = name
        self.matrices = tuple(matrices)
        self.index: dict[str, int] = {}
        self.names: list[str] = []
        self.device: Rows = np.empty(0, dtype=np.intp)
        self._data: dict[str, Matrix] = {m.name: np.empty((0, len(m.names)), dtype=m.dtype) for m in matrices}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, matrix: str) -> Matrix:
        """A matrix, (places, columns); more places than rows. Not to be kept over `add`."""
        return self._data[matrix]

    def row(self, name: str) -> int:
        """The row of `name`. Raises KeyError for one not added."""
        return self.index[name]

    def add(self, name: str, device: int) -> int:
        """The row of `name`, new with its starting values where there is none."""
        row = self.index.get(name)
        if row is not None:
            return row
        row = len(self.names)
        if row >= self.device.shape[0]:
            self._grow(max(GROW_ROWS, row // 2))
        self.index[name] = row
        self.names.append(name)
        self.device[row] = device
        return row

    def _grow(self, rows: int) -> None:
        self.device = np.concatenate([self.device, np.full(rows, -1, dtype=np.intp)])
        for column in self.matrices:
            more = np.full((rows, len(column.names)), column.fill, dtype=column.dtype)
            self._data[column.name] = np.concatenate([self._data[column.name], more])

    def ranks(self) -> NDArray[np.int64]:
        """(rows,) the place of each row in the order of names."""
        ranks = np.empty(len(self.names), dtype=np.int64)
        ranks[sorted(range(len(self.names)), key=self.names.__getitem__)] = np.arange(len(self.names))
        return ranks


@dataclass(frozen=True, slots=True)
class ShardContents:
    """What a block's bytes hold. rows: of each table, the names and the matrices' lines. extras: by device, JSON values."""

    offset: int
    devices: tuple[str, ...]
    rows: Mapping[str, tuple[tuple[str, ...], tuple[int, ...], Mapping[str, Matrix]]]
    extras: Mapping[str, Mapping[str, Any]]


def pack_shard(
    offset: int,
    devices: Sequence[str],
    tables: Mapping[str, tuple[Table, Rows]],
    extras: Mapping[str, Mapping[str, Any]],
) -> bytes:
    """The bytes of a block: a JSON header, then the columns' bytes. `extras` by kind, then by device.

    devices: in order; a row names its device by its place there. The rows of each table are put in the order of their names.
    """
    places = {device: place for place, device in enumerate(devices)}
    header: dict[str, Any] = {"offset": offset, "devices": list(devices), "tables": {}, "extras": extras}
    body: list[bytes] = []
    for name, (table, rows) in sorted(tables.items()):  # as the header's keys are sorted too
        ordered = sorted(rows.tolist(), key=table.names.__getitem__)
        names = [table.names[row] for row in ordered]
        header["tables"][name] = {
            "names": names,
            "devices": [places[item.split("/", 1)[0]] for item in names],
            "matrices": [[column.name, column.dtype, list(column.names)] for column in table.matrices],
        }
        body.extend(table[column.name][ordered].tobytes() for column in table.matrices)
    head = json.dumps(header, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    rest = b"".join((head, *body))
    return _HEAD.pack(_MAGIC, len(head), zlib.crc32(rest)) + rest


def unpack_shard(wire: bytes) -> ShardContents:
    """The block of `pack_block`'s bytes. Raises LogDamaged where they are not whole, or of another version."""
    if len(wire) < _HEAD.size:
        raise LogDamaged(f"a block of state has {len(wire)} bytes: expected at least {_HEAD.size}")
    magic, length, crc = _HEAD.unpack_from(wire)
    if magic != _MAGIC:
        raise LogDamaged(f"a block of state starts with {magic!r}: expected {_MAGIC!r}")
    if zlib.crc32(memoryview(wire)[_HEAD.size :]) != crc:
        raise LogDamaged("a block of state is damaged: its check sum does not fit its bytes")
    header = json.loads(wire[_HEAD.size : _HEAD.size + length])
    place = _HEAD.size + length
    rows: dict[str, tuple[tuple[str, ...], tuple[int, ...], Mapping[str, Matrix]]] = {}
    for name, table in header["tables"].items():
        count = len(table["names"])
        matrices: dict[str, Matrix] = {}
        for matrix, dtype, columns in table["matrices"]:
            cells = count * len(columns)
            values: Matrix = np.frombuffer(wire, dtype=dtype, count=cells, offset=place)
            matrices[matrix] = values.reshape(count, len(columns))
            place += values.nbytes
        rows[name] = (tuple(table["names"]), tuple(table["devices"]), matrices)
    return ShardContents(header["offset"], tuple(header["devices"]), rows, header["extras"])


def drop_devices(wire: bytes, gone: Set[str]) -> bytes:
    """A block's bytes without the rows and extras of some devices. Raises LogDamaged."""
    unpack_shard(wire)
    _, length, _ = _HEAD.unpack_from(wire)
    header = json.loads(wire[_HEAD.size : _HEAD.size + length])
    kept = [device for device in header["devices"] if device not in gone]
    places = {device: place for place, device in enumerate(kept)}
    place = _HEAD.size + length
    body: list[bytes] = []
    for table in header["tables"].values():
        stays = [name.split("/", 1)[0] not in gone for name in table["names"]]
        for _, dtype, columns in table["matrices"]:
            cells = len(stays) * len(columns)
            values = np.frombuffer(wire, dtype=dtype, count=cells, offset=place).reshape(len(stays), len(columns))
            body.append(values[np.array(stays, dtype=np.bool_)].tobytes())
            place += values.nbytes
        table["names"] = [name for name, stay in zip(table["names"], stays, strict=True) if stay]
        table["devices"] = [places[name.split("/", 1)[0]] for name in table["names"]]
    for kind in (header["extras"].get("devices", {}), *header["extras"].get("dedup", {}).values()):
        for name in [name for name in kind if name.split("/", 1)[0] in gone]:
            del kind[name]
    header["devices"] = kept
    head = json.dumps(header, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    rest = b"".join((head, *body))
    return _HEAD.pack(_MAGIC, len(head), zlib.crc32(rest)) + rest
