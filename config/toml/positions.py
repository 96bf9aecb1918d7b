"""Line numbers in a TOML text: of every table, key and element of an array.

Neither tomllib nor tomlkit gives positions of values, so this walks the text a second time, to report mistakes only. The
text has to be valid TOML (tomllib has parsed it); nothing is validated here.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

TomlPath = tuple[str | int, ...]
"""Keys of tables and indices of arrays, from the root."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})' r"|'''.*?'''(?:'{0,2})" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'", re.DOTALL
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


class LineIndex:
    """The lines of one text: `line(path)`, from 1."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._offset = 0
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._lines: dict[TomlPath, int] = {}
        self._arrays: dict[TomlPath, int] = {}  # array of tables -> how many tables so far
        self._walk()

    def line(self, path: TomlPath) -> int:
        """The line of `path`, or of the innermost table or array around it that is in the text; 1 for the root."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _walk(self) -> None:
        table: TomlPath = ()
        while True:
            self._skip(_BLANK)
            if self._offset >= len(self._text):
                return
            if self._text[self._offset] == "[":
                table = self._header()
            else:
                self._key_value(table)

    def _header(self) -> TomlPath:
        offset, double = self._offset, self._text.startswith("[[", self._offset)
        self._offset += 2 if double else 1
        keys = self._keys()
        self._skip(_SPACE)
        self._offset += 2 if double else 1
        parent = self._enter((), keys[:-1], offset)
        path = (*parent, keys[-1])
        if not double:
            if path in self._arrays:
                path = (*path, self._arrays[path] - 1)
            self._lines[path] = self._line_at(offset)
            return path
        self._record(path, offset)
        index = self._arrays.get(path, 0)
        self._arrays[path] = index + 1
        self._record((*path, index), offset)
        return (*path, index)

    def _enter(self, table: TomlPath, keys: list[str], offset: int) -> TomlPath:
        """The table at dotted `keys` below `table`; of an array of tables, the last element."""
        for key in keys:
            table = (*table, key)
            self._record(table, offset)
            if table in self._arrays:
                table = (*table, self._arrays[table] - 1)
        return table

    def _key_value(self, table: TomlPath) -> None:
        offset = self._offset
        keys = self._keys()
        self._skip(_SPACE)
        self._offset += 1  # the equals sign
        path = (*self._enter(table, keys[:-1], offset), keys[-1])
        self._record(path, offset)
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: TomlPath) -> None:
        first = self._text[self._offset]
        if first in "\"'":
            self._skip(_STRING)
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _array(self, path: TomlPath) -> None:
        self._offset += 1
        index = 0
        while True:
            self._skip(_BLANK)
            if self._text[self._offset] == "]":
                break
            if self._text[self._offset] == ",":
                self._offset += 1
                continue
            self._record((*path, index), self._offset)
            self._value((*path, index))
            index += 1
        self._offset += 1

    def _inline_table(self, path: TomlPath) -> None:
        self._offset += 1
        while True:
            self._skip(_BLANK)
            if self._text[self._offset] == "}":
                break
            if self._text[self._offset] == ",":
                self._offset += 1
                continue
            self._key_value(path)
        self._offset += 1

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip(_SPACE)
            quoted = self._text[self._offset] in "\"'"
            found = (_STRING if quoted else _BARE_KEY).match(self._text, self._offset)
            if found is None:
                raise ValueError(f"no key at line {self._line_at(self._offset)}: the text is not valid TOML")
            self._offset = found.end()
            keys.append(next(iter(tomllib.loads(f"{found[0]} = 0"))))
            self._skip(_SPACE)
            if not self._text.startswith(".", self._offset):
                return keys
            self._offset += 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self._offset)
        if found is None:
            raise ValueError(f"line {self._line_at(self._offset)} can't be followed: the text is not valid TOML")
        self._offset = found.end()

    def _record(self, path: TomlPath, offset: int) -> None:
        self._lines.setdefault(path, self._line_at(offset))

    def _line_at(self, offset: int) -> int:
        return bisect_right(self._starts, offset)
