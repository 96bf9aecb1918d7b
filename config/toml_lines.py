"""Where things stand in a TOML text: the line of every table, key and element of an array.

tomllib gives values without positions, so this walks the text a second time, for reports of mistakes only. It takes the
text to be valid (tomllib has read it): it is no parser and judges nothing.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

Path = tuple[str | int, ...]
"""Keys of tables and indices of arrays, from the root."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})' r"|'''.*?'''(?:'{0,2})" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'", re.DOTALL
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


class Lines:
    """The lines of one text: `line(path)`, from 1."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._lines: dict[Path, int] = {}
        self._arrays: dict[Path, int] = {}  # array of tables -> how many tables so far
        self._walk()

    def line(self, path: Path) -> int:
        """The line of `path`, or of the nearest thing around it that is in the text; 1 for the root."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _walk(self) -> None:
        table: Path = ()
        while True:
            self._skip(_BLANK)
            if self._place >= len(self._text):
                return
            if self._text[self._place] == "[":
                table = self._header()
            else:
                self._key_value(table)

    def _header(self) -> Path:
        place, double = self._place, self._text.startswith("[[", self._place)
        self._place += 2 if double else 1
        keys = self._keys()
        self._skip(_SPACE)
        self._place += 2 if double else 1
        parent = self._enter((), keys[:-1], place)
        path = (*parent, keys[-1])
        if not double:
            if path in self._arrays:
                path = (*path, self._arrays[path] - 1)
            self._lines[path] = self._line_at(place)
            return path
        self._note(path, place)
        index = self._arrays.get(path, 0)
        self._arrays[path] = index + 1
        self._note((*path, index), place)
        return (*path, index)

    def _enter(self, table: Path, keys: list[str], place: int) -> Path:
        """The table that dotted `keys` lead to from `table`: of an array of tables, its last one."""
        for key in keys:
            table = (*table, key)
            self._note(table, place)
            if table in self._arrays:
                table = (*table, self._arrays[table] - 1)
        return table

    def _key_value(self, table: Path) -> None:
        place = self._place
        keys = self._keys()
        self._skip(_SPACE)
        self._place += 1  # the equals sign
        path = (*self._enter(table, keys[:-1], place), keys[-1])
        self._note(path, place)
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: Path) -> None:
        first = self._text[self._place]
        if first in "\"'":
            self._skip(_STRING)
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        self._place += 1
        index = 0
        while True:
            self._skip(_BLANK)
            if self._text[self._place] == "]":
                break
            if self._text[self._place] == ",":
                self._place += 1
                continue
            self._note((*path, index), self._place)
            self._value((*path, index))
            index += 1
        self._place += 1

    def _inline_table(self, path: Path) -> None:
        self._place += 1
        while True:
            self._skip(_BLANK)
            if self._text[self._place] == "}":
                break
            if self._text[self._place] == ",":
                self._place += 1
                continue
            self._key_value(path)
        self._place += 1

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip(_SPACE)
            quoted = self._text[self._place] in "\"'"
            found = (_STRING if quoted else _BARE_KEY).match(self._text, self._place)
            if found is None:
                raise ValueError(f"no key at line {self._line_at(self._place)}: the text is not valid TOML")
            self._place = found.end()
            keys.append(next(iter(tomllib.loads(f"{found[0]} = 0"))))
            self._skip(_SPACE)
            if not self._text.startswith(".", self._place):
                return keys
            self._place += 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self._place)
        if found is None:
            raise ValueError(f"line {self._line_at(self._place)} can't be followed: the text is not valid TOML")
        self._place = found.end()

    def _note(self, path: Path, place: int) -> None:
        self._lines.setdefault(path, self._line_at(place))

    def _line_at(self, place: int) -> int:
        return bisect_right(self._starts, place)
