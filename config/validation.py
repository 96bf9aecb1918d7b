"""Validation of tables against their models, with messages for people: the field, the value and what was expected.

Pydantic finds the mistakes; this module turns them into sentences for somebody who has the file open, with paths in the
table, and with the lines of a file where there is one.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, time
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from config.suggestions import did_you_mean, list_names
from config.toml.positions import TomlPath
from config.toml.reader import TomlDocument
from star.errors import Problem

Model = TypeVar("Model", bound=BaseModel)

_TEXT_SHOWN_MAX = 60

_PATTERNS = {
    r"^[^\s/+#$][^\s/+#]*$": "a name without blanks, /, + or #, and no $ in front",
    r"^([01]\d|2[0-3]):[0-5]\d$": 'a time of day such as "22:00"',
    r"^\d{4}-\d{2}-\d{2}$": 'a day such as "2026-08-01"',
}
_EXPECTED = {
    "string_type": "a text",
    "string_too_short": "a text that is not empty",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of at most 18 digits",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_EXPECTED_WHEN_MISSING = {
    "id": "a name of its own",
    "customer": "the id of a [[customers]] table",
    "profile": "the name of a profile",
    "sku": "the supplier's name for the product",
    "quantity": "how much is in it, a number above 0",
    "price": "what all of it costs, a number of at least 0",
    "name": "the name of the file without .toml",
    "description": "a sentence on what it is for",
    "signal": '"level" or "usage"',
    "cause": "a word for what is used up, such as cups",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationFinding:
    """One mistake in a table. missing: the field is absent."""

    path: TomlPath
    message: str
    missing: bool = False


@dataclass(frozen=True, slots=True)
class ValidatedTable(Generic[Model]):
    """The model instance, or None and the findings."""

    value: Model | None
    findings: tuple[ValidationFinding, ...]


def validate_table(model: type[Model], table: Mapping[str, Any]) -> ValidatedTable[Model]:
    """Validates `table`, from TOML or JSON, against `model`. Values of another type, such as numbers as text, are mistakes."""
    try:
        return ValidatedTable(model.model_validate_json(json.dumps(table, default=_as_text), strict=True), ())
    except ValidationError as error:
        details = error.errors(include_url=False)
        return ValidatedTable(None, tuple(_finding(model, one) for one in details))


def format_value(value: object) -> str:
    """A value in TOML's notation, cut short."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        shown = value if len(value) <= _TEXT_SHOWN_MAX else value[:_TEXT_SHOWN_MAX] + "…"
        return json.dumps(shown, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        shown = ", ".join(format_value(one) for one in value[:3])
        return f"[{shown}{', …' if len(value) > 3 else ''}]"
    shown = str(value)
    return shown if len(shown) <= _TEXT_SHOWN_MAX else shown[:_TEXT_SHOWN_MAX] + "…"


def _redacted(path: TomlPath, value: object) -> str | None:
    """A replacement for a value that may contain a password, as messages end up in logs and screenshots; None: show it."""
    if "secret" in path:
        return "a secret"
    if not isinstance(value, str) or not {"channels", "endpoint"} & set(path):
        return None
    scheme, mark, rest = value.partition("://")
    if not mark or (path[0] == "endpoint" and "@" not in rest):
        return None
    return format_value(f"{scheme}://…")


def _as_text(value: object) -> str:
    if isinstance(value, time):
        return value.strftime("%H:%M")
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def _finding(model: type[BaseModel], error: ErrorDetails) -> ValidationFinding:
    path: TomlPath = tuple(part for part in error["loc"] if part != "[key]")
    kind, value = error["type"], error["input"]
    if kind == "missing" and isinstance(path[-1], int):
        return ValidationFinding(path=path[:-1], message=f"is {format_value(value)}: expected two values")
    if kind == "missing":
        return ValidationFinding(
            path=path, message=f"is missing: expected {_EXPECTED_WHEN_MISSING.get(str(path[-1]), 'it')}", missing=True
        )
    if kind == "extra_forbidden":
        known = _fields_at(model, path[:-1])
        hint = did_you_mean(str(path[-1]), known)
        return ValidationFinding(path=path, message=f"is not known here{hint}: expected one of {list_names(known)}")
    if kind == "value_error" and isinstance(value, Mapping):
        return ValidationFinding(path=path, message=_expected(error))
    return ValidationFinding(
        path=path, message=f"is {_redacted(path, value) or format_value(value)}: {_expected(error)}"
    )


def _expected(error: ErrorDetails) -> str:
    kind, ctx = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return error["msg"].removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        return f"expected {_PATTERNS.get(ctx['pattern'], ctx['pattern'])}"
    if kind == "string_too_long":
        return f"expected at most {ctx['max_length']} characters"
    if kind == "too_long":
        return f"expected {ctx['max_length']} values"
    if kind in ("enum", "literal_error"):
        choices = ctx["expected"].replace("'", "").replace(" or ", ", ")
        return f"expected one of {choices}{did_you_mean(str(error['input']), choices.split(', '))}"
    if kind in ("greater_than", "greater_than_equal"):
        bound = ctx["gt"] if kind == "greater_than" else ctx["ge"]
        return f"expected a number {'above' if kind == 'greater_than' else 'of at least'} {bound:g}"
    return f"expected {_EXPECTED[kind]}" if kind in _EXPECTED else error["msg"]


def _fields_at(model: type[BaseModel], path: TomlPath) -> list[str]:
    """The names of the fields of the table at `path` in `model`."""
    kind: Any = model
    for part in path:
        if _is_model(kind):
            kind = _unwrapped(kind.model_fields[str(part)].annotation)
        else:  # of a table by names the value, of a list the element
            arguments = typing.get_args(kind)
            kind = _unwrapped(arguments[1] if typing.get_origin(kind) is dict else arguments[0])
    return list(kind.model_fields) if _is_model(kind) else []


def _unwrapped(annotation: Any) -> Any:
    """The type without Annotated and Optional."""
    while True:
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            annotation = arguments[0]
        elif origin in (typing.Union, types.UnionType):
            annotation = next(one for one in arguments if one is not type(None))
        else:
            return annotation


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def field_label(data: Mapping[str, Any], path: TomlPath) -> str:
    """Name of a field for messages, with rows by id (`customers.maria.away`) or, without one, by number from 1."""
    names: list[str] = []
    place: Any = data
    for step, part in enumerate(path):
        inner = place[part] if _contains(place, part) else None
        if not isinstance(part, int):
            names.append(part)
        else:
            own = inner.get("id") if step == 1 and isinstance(inner, dict) else None
            if isinstance(own, str) and own:
                names.append(own)
            else:
                names[-1] += f"[{part + 1}]"
        place = inner
    return ".".join(names)


def _contains(place: Any, part: str | int) -> bool:
    if isinstance(part, int):
        return isinstance(place, list) and part < len(place)
    return isinstance(place, dict) and part in place


def findings_to_problems(data: Mapping[str, Any], findings: list[ValidationFinding], source: str) -> list[Problem]:
    """Findings as problems of a source without lines, such as an API call."""
    return [Problem(file=source, line=None, field=field_label(data, one.path), message=one.message) for one in findings]


def document_problems(document: TomlDocument, findings: Iterable[ValidationFinding]) -> list[Problem]:
    """The mistakes of syntax of a file and the findings in it as problems with lines, in the order of the file.

    A field that is missing because its line has a mistake of syntax is not reported a second time.
    """
    problems = [*document.problems]
    for one in findings:
        if one.missing and document.broken and document.explains_missing(one.path):
            continue
        line, name = document.lines.line(one.path), field_label(document.data, one.path)
        problems.append(Problem(file=document.file, line=line, field=name, message=one.message))
    return sorted(problems, key=lambda problem: problem.line or 0)
