"""The adapter `senml`: numbers of SenML packs (RFC 8428), JSON and CBOR, on the canonical telemetry topic of their device.

A value's name is the record's resolved name without what identifies the device: the topic's device, a base name, the head
of a `urn:dev:` name, and everything before the last `:` or `/`. Where two sensors of a pack would then have one name, they
keep their whole names. A sum `s` becomes the counter `<name>_total`. Texts, booleans and data are listed as ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from io import BytesIO
from typing import Any

import cbor2

from edge.adapters.base import DecodedReading, abbreviate, number, parse_json
from edge.adapters.canonical import device_of
from star.errors import BadPayload
from star.times import SECOND_MS, parse_time_ms

RECORDS_MAX = 100_000
"""Most records of a pack: bounds the memory that a payload of 4 MiB may take."""
VERSION_MAX = 10
"""The version of SenML that RFC 8428 describes; a pack of a later one is refused, as the RFC asks."""
ABSOLUTE_FROM_S = 2**28
"""Times below it, in seconds, are relative to the time of arrival (RFC 8428, section 4.5.3)."""
LABELS = {
    -1: "bver",
    -2: "bn",
    -3: "bt",
    -4: "bu",
    -5: "bv",
    -6: "bs",
    0: "n",
    1: "u",
    2: "v",
    3: "vs",
    4: "vb",
    5: "s",
    6: "t",
    7: "ut",
    8: "vd",
}
"""Labels of the CBOR form -> labels of the JSON form (RFC 8428, section 6)."""
BASES = ("bver", "bn", "bt", "bu", "bv", "bs")
NON_NUMERIC_LABELS = ("vs", "vb", "vd")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """A record with its bases added. own: its name without the base. at_s: as in the pack, absolute or relative, or None."""

    base: str
    own: str
    unit: str | None
    at_s: float | None
    value: float | None
    total: float | None
    other: bool


def decode(topic: str, payload: bytes, arrived_ms: int) -> list[DecodedReading] | None:
    """See edge.adapters.base.Adapter. A JSON list in which no object has a SenML label is not a pack."""
    device = device_of(topic)
    if device is None or not payload:
        return None
    if 0x80 <= payload[0] <= 0x9F:  # a CBOR array; no JSON text starts with such a byte
        pack = _with_json_labels(_cbor(payload))
    elif payload.lstrip(b" \t\r\n")[:1] == b"[" and _may_be_pack(payload):
        pack = parse_json(payload)
        if not _is_pack(pack):
            return None
    else:
        return None
    return _to_readings(device, _resolve_records(pack), arrived_ms)


def _may_be_pack(payload: bytes) -> bool:
    """A cheap test before parsing: False only for a list of canonical messages, which have `values` and no `v` or `s`."""
    return b'"values"' not in payload or b'"v"' in payload or b'"s"' in payload


def _is_pack(body: Any) -> bool:
    labels = set(LABELS.values())
    return isinstance(body, list) and any(isinstance(r, dict) and "values" not in r and labels & r.keys() for r in body)


def _cbor(payload: bytes) -> Any:
    stream = BytesIO(payload)
    try:
        body = cbor2.CBORDecoder(stream).decode()
    except RecursionError:
        raise BadPayload("nested too deep: expected a list of records") from None
    except (cbor2.CBORDecodeError, ValueError, OverflowError, MemoryError) as error:
        raise BadPayload(f"not CBOR: {error}") from None
    if stream.tell() != len(payload) and stream.read(1):
        raise BadPayload("not CBOR: there is more after the pack: expected its end")
    return body


def _with_json_labels(pack: Any) -> Any:
    """The CBOR pack with the labels of the JSON form."""
    if not isinstance(pack, list):
        return pack
    return [
        {LABELS.get(key, key) if isinstance(key, int) else key: value for key, value in record.items()}
        if isinstance(record, dict)
        else record
        for record in pack
    ]


def _resolve_records(pack: Sequence[Any]) -> list[_Record]:
    if len(pack) > RECORDS_MAX:
        raise BadPayload(f"the pack has {len(pack)} records: expected at most {RECORDS_MAX}")
    base: dict[str, Any] = {"bn": "", "bt": None, "bu": None, "bv": None, "bs": None}
    found: list[_Record] = []
    for place, record in enumerate(pack):
        if not isinstance(record, dict):
            raise BadPayload(f"[{place}] is {abbreviate(record)}: expected a record")
        _check_labels(record, place)
        for label in ("bt", "bv", "bs"):
            if label in record:
                base[label] = _number(record[label], f"[{place}].{label}")
        for label in ("bn", "bu"):
            if label in record:
                base[label] = _text(record[label], f"[{place}].{label}")
        if any(label not in BASES for label in record):
            found.append(_resolve_record(record, base, place))
    return found


def _check_labels(record: Mapping[Any, Any], place: int) -> None:
    version = record.get("bver", VERSION_MAX)
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= VERSION_MAX:
        raise BadPayload(f"[{place}].bver is {abbreviate(version)}: expected a version of at most {VERSION_MAX}")
    for label in record:
        if isinstance(label, str) and label.endswith("_"):
            raise BadPayload(f"[{place}] has the label {abbreviate(label)}, which must be understood, and is not")


def _resolve_record(record: Mapping[Any, Any], base: Mapping[str, Any], place: int) -> _Record:
    own = _text(record["n"], f"[{place}].n") if "n" in record else ""
    if not base["bn"] + own:
        raise BadPayload(f"[{place}] has no name: expected n, bn, or both")
    other = any(label in record for label in NON_NUMERIC_LABELS)
    unit = _text(record["u"], f"[{place}].u") if "u" in record else base["bu"]
    return _Record(
        base=base["bn"],
        own=own,
        unit=unit,
        at_s=_with_base(base["bt"], record, "t", place),
        value=None if other else _with_base(base["bv"], record, "v", place),
        total=_with_base(base["bs"], record, "s", place),
        other=other,
    )


def _with_base(base: float | None, record: Mapping[Any, Any], label: str, place: int) -> float | None:
    """The sum of the field and its base; where one is missing the other, where both are missing None."""
    own = _number(record[label], f"[{place}].{label}") if label in record else None
    if own is None or base is None:
        return own if base is None else base
    return number(base + own, f"[{place}].{label} with its base")


def _number(value: object, place: str) -> float:
    return number(float(value) if isinstance(value, Decimal) else value, place)


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise BadPayload(f"{place} is {abbreviate(value)}: expected a text")
    return value


def _to_readings(device: str, records: Sequence[_Record], arrived_ms: int) -> list[DecodedReading]:
    names = _value_names(device, records)
    rows: list[tuple[int | None, dict[str, float], dict[str, str]]] = []
    ignored: list[str] = []
    for record, name in zip(records, names, strict=True):
        if record.other:
            ignored.append(name)
        at_ms = _at_ms(record.at_s, arrived_ms)
        for one, value, unit in _values_of(record, name):
            if not rows or rows[-1][0] != at_ms or one in rows[-1][1]:
                rows.append((at_ms, {}, {}))
            rows[-1][1][one] = value
            if unit is not None:
                rows[-1][2][one] = unit
    if not rows:
        raise BadPayload("the pack holds no number: expected at least one record with v or s")
    return [
        DecodedReading(
            device=device, at_ms=at_ms, values=values, units=units, ignored=tuple(ignored) if not place else ()
        )
        for place, (at_ms, values, units) in enumerate(rows)
    ]


def _values_of(record: _Record, name: str) -> list[tuple[str, float, str | None]]:
    found: list[tuple[str, float, str | None]] = []
    if record.value is not None:
        found.append((name, record.value, record.unit))
    if record.total is not None:
        found.append((f"{name}_total", record.total, _integrated_unit(record.unit)))
    return found


def _integrated_unit(unit: str | None) -> str | None:
    """The unit of a sum over seconds: l/s gives l, W gives W.s."""
    if unit is None:
        return None
    return unit.removesuffix("/s") if unit.endswith("/s") and len(unit) > 2 else f"{unit}.s"


def _at_ms(at_s: float | None, arrived_ms: int) -> int | None:
    if at_s is None:
        return None
    return parse_time_ms(at_s if at_s >= ABSOLUTE_FROM_S else arrived_ms / SECOND_MS + at_s, "t")


def _value_names(device: str, records: Sequence[_Record]) -> list[str]:
    """A value name for each record. Sensors whose short names are equal keep their whole names; one sensor with several
    units gets the unit added."""
    short = [_short_name(device, record) for record in records]
    sensors: dict[str, set[str]] = {}
    units: dict[str, set[str | None]] = {}
    for name, record in zip(short, records, strict=True):
        sensors.setdefault(name, set()).add(record.base + record.own)
        units.setdefault(record.base + record.own, set()).add(None if record.other else record.unit)
    names: list[str] = []
    for name, record in zip(short, records, strict=True):
        whole = record.base + record.own
        one = name if len(sensors[name]) == 1 else whole
        if len(units[whole] - {None}) > 1 and record.unit is not None:
            one = f"{one}.{record.unit}"
        names.append(re.sub(r"[\s/+#]+", ".", one.strip("/ ")))
    return names


def _short_name(device: str, record: _Record) -> str:
    whole = record.own if record.base and record.own else record.base + record.own
    for head in (rf"^.*?(?:^|[:/]){re.escape(device)}[:/._-](?=.)", r"^urn:dev:[^:]+:[0-9A-Za-z.\-]+[:/_](?=.)"):
        whole = re.sub(head, "", whole)
    parts = [part for part in re.split(r"[:/]", whole) if part]
    return parts[-1] if parts else whole
