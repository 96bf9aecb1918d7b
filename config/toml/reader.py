"""A reader of TOML files that reports every mistake of syntax: statements that are not TOML are reported and left out.

tomllib, like tomlkit, stops at the first mistake. A text that it refuses is therefore split into statements, each is
parsed by itself, and the valid ones are read together. Nothing here is specific to fleets or profiles.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

from config.toml.positions import LineIndex, TomlPath
from star.errors import ConfigError, Problem

STATEMENT_LINES_MAX = 200
"""Most lines of a statement: a longer one with a mistake is reported at its first line."""
SYNTAX_PROBLEMS_MAX = 100
"""Most mistakes of syntax that are reported: a file with more is probably not TOML at all."""

_POSITION = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")
_HEADER = re.compile(r"\s*\[+\s*([A-Za-z0-9_\-.\"' ]+?)\s*\]*\s*(?:#.*)?$")


@dataclass(frozen=True, slots=True)
class BrokenStatement:
    """A statement that was left out. table_line: the line of its table's header, 1 for the root. key: None where unknown."""

    table_line: int
    key: str | None


@dataclass
class TomlDocument:
    """The readable part of a file as `data`, its mistakes of syntax, and line numbers."""

    file: str
    data: dict[str, Any]
    text: str
    problems: list[Problem] = field(default_factory=list)
    broken: list[BrokenStatement] = field(default_factory=list)

    @cached_property
    def lines(self) -> LineIndex:
        """Line numbers of everything in `data`."""
        return LineIndex(self.text)

    def explains_missing(self, path: TomlPath) -> bool:
        """Whether the field at `path` may be missing only because its statement was left out."""
        table_line = self.lines.line(path[:-1])
        return any(one.table_line == table_line and one.key in (None, path[-1]) for one in self.broken)


def read_toml(path: FilePath, arrays: frozenset[str] = frozenset()) -> TomlDocument:
    """Reads the file at `path`. arrays: names of top-level arrays of tables, to repair their headers.

    Raises ConfigError where there is no text: no file, a folder, no permission, not UTF-8.
    """
    file = str(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise _unreadable(file, "is not there: expected a TOML file") from None
    except IsADirectoryError:
        raise _unreadable(file, "is a folder: expected a TOML file") from None
    except OSError as error:
        raise _unreadable(file, f"can't be read ({error.strerror}): expected a TOML file") from error
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"holds the byte 0x{raw[error.start]:02x}, which is not UTF-8: expected a text in UTF-8"
        raise ConfigError([Problem(file=file, line=line, field="", message=message)]) from None
    try:
        return TomlDocument(file=file, data=tomllib.loads(text), text=text)
    except tomllib.TOMLDecodeError:
        return _read_in_pieces(file, text, arrays)
    except RecursionError:
        raise _unreadable(file, "nests arrays or tables too deep: expected at most a few levels") from None


def _unreadable(file: str, message: str) -> ConfigError:
    return ConfigError([Problem(file=file, line=None, field="", message=message)])


def _read_in_pieces(file: str, text: str, arrays: frozenset[str]) -> TomlDocument:
    lines = text.split("\n")
    document = TomlDocument(file=file, data={}, text=text)
    header_line = 1
    line_index = 0
    while line_index < len(lines) and len(document.problems) < SYNTAX_PROBLEMS_MAX:
        end, message = _statement(lines, line_index)
        is_header = lines[line_index].lstrip().startswith("[")
        if is_header:
            header_line = line_index + 1
        if message is not None:
            _report(document, line_index + 1, message)
            mended = _repaired_header(lines[line_index], arrays) if is_header else None
            if mended is None:
                document.broken.append(BrokenStatement(header_line, _key_of(lines[line_index])))
            lines[line_index] = mended or ""
        line_index = end
    _read_rest(document, lines)
    document.problems.sort(key=lambda problem: problem.line or 0)
    return document


def _statement(lines: list[str], line_index: int) -> tuple[int, str | None]:
    """(index of the line after the statement that begins at `line_index`, its mistake or None)."""
    first = _syntax_error(lines[line_index])
    if first is None:
        return line_index + 1, None
    if any(mark in lines[line_index] for mark in ("[", "{", '"""', "'''")):
        for end in range(line_index + 2, min(line_index + STATEMENT_LINES_MAX, len(lines)) + 1):
            if _syntax_error("\n".join(lines[line_index:end])) is None:
                return end, None
    return line_index + 1, first


def _syntax_error(text: str) -> str | None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return _POSITION.sub("", str(error))
    return None


def _repaired_header(line: str, arrays: frozenset[str]) -> str | None:
    found = _HEADER.match(line)
    if found is None:
        return None
    mended = f"[[{found[1]}]]" if found[1] in arrays or line.lstrip().startswith("[[") else f"[{found[1]}]"
    return mended if _syntax_error(mended) is None else None


def _read_rest(document: TomlDocument, lines: list[str]) -> None:
    """Reads the statements together; leaves out, one by one, those that conflict with others, such as duplicate keys."""
    for _ in range(SYNTAX_PROBLEMS_MAX):
        document.text = "\n".join(lines)
        try:
            document.data = tomllib.loads(document.text)
        except tomllib.TOMLDecodeError as error:
            found = _POSITION.search(str(error))
            number = int(found[1]) if found is not None and found[1] else len(lines)
            start = _start_of(lines, number - 1)
            _report(document, start + 1, _POSITION.sub("", str(error)), key=_key_of(lines[start]))
            _leave_out(lines, start)
        else:
            return
    document.text = ""


def _start_of(lines: list[str], inside: int) -> int:
    """Index of the first line of the statement that contains the line `inside`."""
    for start in range(inside, max(-1, inside - STATEMENT_LINES_MAX), -1):
        if lines[start].strip() and _syntax_error("\n".join(lines[start : inside + 1])) is None:
            return start
    return inside


def _leave_out(lines: list[str], start: int) -> None:
    end, _ = _statement(lines, start)
    if lines[start].lstrip().startswith("["):  # without its header a section would become part of the table before it
        while end < len(lines) and not lines[end].lstrip().startswith("["):
            end, _ = _statement(lines, end)
    for number in range(start, end):
        lines[number] = ""


def _key_of(line: str) -> str | None:
    found = _KEY.match(line)
    return None if found is None else found[1]


def _report(document: TomlDocument, line: int, message: str, *, key: str | None = None) -> None:
    description = "is there twice in this table" if message == "Cannot overwrite a value" else f"is not TOML: {message}"
    name = key or _key_of(document.text.split("\n")[line - 1]) or ""
    document.problems.append(Problem(file=document.file, line=line, field=name, message=description))
