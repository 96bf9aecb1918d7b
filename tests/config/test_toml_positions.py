"""The lines of a TOML text: every way of writing a key leads to its line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from config.toml.positions import LineIndex, TomlPath

TEXT = '''title = "a # no comment" # a comment
point.x.y = 1
"quoted key" . 'other' = 2
long = """
[not.a.table]
key = 3
"""" # four quotes end it
raw = \'\'\'
key = "unclosed
\'\'\'
list = [
    1, # one
    [2, 3],
    { a = 1, b = [
        4,
    ] },
]
[a.b]
c = 1979-05-27 07:32:00
[a]
d = "\\" = 5"
[[rows]]
id = 1
[[rows.inner]]
v = 1
[[rows.inner]]
v = 2
[rows.table]
w = 1
[[rows]]
id = 2
[rows.table]
w = 2
'''

EXPECTED: dict[TomlPath, int] = {
    ("title",): 1,
    ("point", "x", "y"): 2,
    ("quoted key", "other"): 3,
    ("long",): 4,
    ("raw",): 8,
    ("list", 0): 12,
    ("list", 1, 1): 13,
    ("list", 2, "a"): 14,
    ("list", 2, "b", 0): 15,
    ("a", "b", "c"): 19,
    ("a",): 20,
    ("a", "d"): 21,
    ("rows", 0, "id"): 23,
    ("rows", 0, "inner", 0, "v"): 25,
    ("rows", 0, "inner", 1): 26,
    ("rows", 0, "table", "w"): 29,
    ("rows", 1): 30,
    ("rows", 1, "table", "w"): 33,
    ("rows", 1, "table", "missing"): 32,
    ("rows", 7, "x"): 22,
    (): 1,
}


def paths(value: Any, path: TomlPath = ()) -> Iterator[TomlPath]:
    """Every path to a value inside `value`."""
    inner: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, below in inner:
        yield (*path, part)
        yield from paths(below, (*path, part))


def test_an_operator_finds_every_key_at_its_reported_line() -> None:
    """Tables, arrays of tables, dotted and quoted keys, inline tables, strings and arrays over many lines."""
    lines = LineIndex(TEXT)
    assert {path: lines.line(path) for path in EXPECTED} == EXPECTED
    assert all(lines.line(path) > 1 for path in paths(tomllib.loads(TEXT)) if path != ("title",))


KEYS = st.text("abc-_", min_size=1, max_size=3)
VALUES = st.recursive(
    st.sampled_from(["1", "1.5", "true", '"# ] }"', "'\"'", '"""x\n[y]\nz"""', "'''\n\n'''", "1979-05-27"]),
    lambda inner: st.lists(inner, max_size=3).map(lambda ones: "[" + ", # ]\n ".join(ones) + "]"),
    max_leaves=6,
)


@given(st.lists(st.tuples(KEYS, VALUES, st.sampled_from(["", " # ]", "\n\n"])), unique_by=lambda row: row[0]))
def test_lines_are_right_whatever_is_before_them(rows: list[tuple[str, str, str]]) -> None:
    """A key is on the line where its text begins, whatever the values before it look like."""
    text, expected = "", {}
    for key, value, after in rows:
        expected[(key,)] = text.count("\n") + 1
        text += f"{key} = {value}{after}\n"
    assert tomllib.loads(text).keys() == {key for (key,) in expected}
    lines = LineIndex(text)
    assert {path: lines.line(path) for path in expected} == expected
