"""InfluxDB's line protocol as bytes: what must be escaped, and a point's line. Tags come sorted, as the server likes them.

InfluxDB can keep no line break in a tag, nor an empty one: a break is written as the two characters `\\n`, an empty tag is left
out, and a backslash at the end is followed by a blank, since it would escape the comma behind it. Tried against InfluxDB 2.7.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

_TAG = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ ", "\n": r"\n", "\r": r"\r"})
_TEXT = str.maketrans({'"': r"\"", "\\": r"\\", "\n": r"\n", "\r": r"\r"})

Tag = tuple[str, str | None]
Field = tuple[str, bytes | None]


def tag(value: str) -> bytes:
    """A tag's key or value, or a field's key."""
    escaped = value.translate(_TAG)
    return (escaped + "\\ " if escaped.endswith("\\") else escaped).encode("utf-8", "replace")


def tags(pairs: Iterable[Tag]) -> bytes:
    """`,key=value` of each pair that has a value, in the order given: sort by key."""
    return b"".join(b"," + tag(key) + b"=" + tag(value) for key, value in pairs if value)


def text(value: str) -> bytes:
    """A field's value that is text."""
    return b'"' + value.translate(_TEXT).encode("utf-8", "replace") + b'"'


def number(value: float | None) -> bytes | None:
    """A field's value that is a float, also where it is whole; None where there is none, or none that can be written."""
    return None if value is None or not math.isfinite(value) else repr(float(value)).encode()


def integer(value: int) -> bytes:
    """A field's value that is an integer."""
    return b"%di" % value


def line(measurement: bytes, tag_set: bytes, fields: Iterable[Field], at_ms: int) -> bytes | None:
    """A point's line, without its end; None where no field has a value. tagged: from `tags`."""
    given = b",".join(tag(key) + b"=" + value for key, value in fields if value is not None)
    return b"%b%b %b %d" % (measurement, tag_set, given, at_ms) if given else None
