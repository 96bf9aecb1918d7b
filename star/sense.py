"""SENSE: batches of readings as columns, and their wire form.

A reading is (metric, time measured, time arrived, value, boot, seq). A metric is one named value of one device,
`device/name`, as a number of the append-only registry (star.ports.MetricRegistry). Implausible readings are readings like
any other; they are judged by the stream.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from star.errors import LogDamaged

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

NO_BOOT = -1
"""`boot` of a reading whose device counts no boots."""
NO_SEQ = -1
"""`seq` of a reading whose device numbers no messages."""

_HEADER = struct.Struct("<BI")  # wire version, rows
_WIRE_VERSION = 1
_WIDTHS = (4, 8, 8, 8, 8, 8)
"""Bytes of one value in each column, in the order of the columns on the wire."""
_ROW_BYTES = sum(_WIDTHS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Readings as columns of equal length n, in order of arrival.

    metric: int32, numbers of the registry. at_ms, arrived_ms: int64, milliseconds since the epoch. value: float64, finite,
    in the metric's own unit. boot, seq: int64, -1 where the device gives none.
    """

    metric: Int32
    at_ms: Int64
    arrived_ms: Int64
    value: Float64
    boot: Int64
    seq: Int64

    def __len__(self) -> int:
        return int(self.metric.shape[0])

    def select(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Readings:
        """The readings at `rows`, in that order."""
        return Readings(
            metric=self.metric[rows],
            at_ms=self.at_ms[rows],
            arrived_ms=self.arrived_ms[rows],
            value=self.value[rows],
            boot=self.boot[rows],
            seq=self.seq[rows],
        )

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[int, int, int, float, int, int]]) -> Self:
        """A batch from rows of (metric, at_ms, arrived_ms, value, boot, seq)."""
        metric, at_ms, arrived_ms, value, boot, seq = zip(*rows, strict=True) if rows else ((),) * 6
        return cls(
            metric=np.array(metric, dtype=np.int32),
            at_ms=np.array(at_ms, dtype=np.int64),
            arrived_ms=np.array(arrived_ms, dtype=np.int64),
            value=np.array(value, dtype=np.float64),
            boot=np.array(boot, dtype=np.int64),
            seq=np.array(seq, dtype=np.int64),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Readings]) -> Readings:
        """Several batches as one, in their order."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.from_rows(())
        return cls(
            metric=np.concatenate([part.metric for part in parts]),
            at_ms=np.concatenate([part.at_ms for part in parts]),
            arrived_ms=np.concatenate([part.arrived_ms for part in parts]),
            value=np.concatenate([part.value for part in parts]),
            boot=np.concatenate([part.boot for part in parts]),
            seq=np.concatenate([part.seq for part in parts]),
        )

    def pack(self) -> bytes:
        """The wire form: version, number of rows, then the six columns, little-endian."""
        columns = (
            self.metric.astype("<i4", copy=False),
            self.at_ms.astype("<i8", copy=False),
            self.arrived_ms.astype("<i8", copy=False),
            self.value.astype("<f8", copy=False),
            self.boot.astype("<i8", copy=False),
            self.seq.astype("<i8", copy=False),
        )
        return b"".join((_HEADER.pack(_WIRE_VERSION, len(self)), *(column.tobytes() for column in columns)))

    @classmethod
    def unpack(cls, wire: bytes | memoryview) -> Readings:
        """The readings of a wire form, as read-only views of its bytes. Raises LogDamaged where it is incomplete."""
        return cls._from_columns(memoryview(wire)[_HEADER.size :], packed_row_count(wire))

    @classmethod
    def unpack_all(cls, wires: Sequence[bytes | memoryview]) -> Readings:
        """The readings of several wire forms as one batch, faster for small ones than `concatenate` over `unpack`.

        Raises LogDamaged where one is incomplete.
        """
        if len(wires) == 1:
            return cls.unpack(wires[0])
        sized = [(memoryview(wire), packed_row_count(wire)) for wire in wires]
        parts: list[memoryview] = []
        before = 0  # bytes of a row in the columns before
        for width in _WIDTHS:
            head = _HEADER.size
            parts += [wire[head + before * rows : head + (before + width) * rows] for wire, rows in sized]
            before += width
        return cls._from_columns(memoryview(b"".join(parts)), sum(rows for _, rows in sized))

    @classmethod
    def _from_columns(cls, body: memoryview, rows: int) -> Readings:
        place = 0

        def column(dtype: str, width: int) -> NDArray[np.generic]:
            nonlocal place
            view = np.frombuffer(body, dtype=dtype, count=rows, offset=place)
            place += rows * width
            return view

        return cls(
            metric=column("<i4", 4),  # type: ignore[arg-type]
            at_ms=column("<i8", 8),  # type: ignore[arg-type]
            arrived_ms=column("<i8", 8),  # type: ignore[arg-type]
            value=column("<f8", 8),  # type: ignore[arg-type]
            boot=column("<i8", 8),  # type: ignore[arg-type]
            seq=column("<i8", 8),  # type: ignore[arg-type]
        )


def packed_row_count(wire: bytes | memoryview) -> int:
    """The number of readings in a wire form. Raises LogDamaged where it is incomplete."""
    if len(wire) < _HEADER.size:
        raise LogDamaged(f"a record of readings has {len(wire)} bytes: expected at least {_HEADER.size}")
    version, rows = _HEADER.unpack_from(wire)
    if version != _WIRE_VERSION or len(wire) != _HEADER.size + rows * _ROW_BYTES:
        raise LogDamaged(
            f"a record of readings has version {version}, {rows} rows and {len(wire)} bytes: they do not fit"
        )
    return int(rows)
