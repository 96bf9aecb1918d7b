"""InfluxDB's line protocol: escaping, and the line of one point, as bytes.

A tag can contain no line break and cannot be empty: a line break is written as the two characters `\\n`, an empty tag is left
out, and a backslash at the end is followed by a space, since it would escape the comma after it. Tried against InfluxDB 2.7.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

_TAG = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ ", "\n": r"\n", "\r": r"\r"})
_TEXT = str.maketrans({'"': r"\"", "\\": r"\\", "\n": r"\n", "\r": r"\r"})

Tag = tuple[str, str | None]
Field = tuple[str, bytes | None]


def tag(value: str) -> bytes:
    """Escapes a tag's key or value, or a field's key."""
    escaped = value.translate(_TAG)
    return (escaped + "\\ " if escaped.endswith("\\") else escaped).encode("utf-8", "replace")


def tags(pairs: Iterable[Tag]) -> bytes:
    """`,key=value` of each pair with a value, in the order given, which should be by key, as InfluxDB recommends."""
    return b"".join(b"," + tag(key) + b"=" + tag(value) for key, value in pairs if value)


def text(value: str) -> bytes:
    """A field's text value."""
    return b'"' + value.translate(_TEXT).encode("utf-8", "replace") + b'"'


def number(value: float | None) -> bytes | None:
    """A field's float value, also of a whole number; None for None and for what InfluxDB cannot store (NaN, infinity)."""
    return None if value is None or not math.isfinite(value) else repr(float(value)).encode()


def integer(value: int) -> bytes:
    """A field's integer value."""
    return b"%di" % value


def line(measurement: bytes, tag_set: bytes, fields: Iterable[Field], at_ms: int) -> bytes | None:
    """A point's line, without its line break; None where no field has a value. tag_set: from `tags`."""
    given = b",".join(tag(key) + b"=" + value for key, value in fields if value is not None)
    return b"%b%b %b %d" % (measurement, tag_set, given, at_ms) if given else None
