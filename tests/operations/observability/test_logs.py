"""Log lines: JSON with role, instance and need, and a page with every event."""

from __future__ import annotations

import ast
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from operations.observability.logging import WARNING_EVENTS, configure_logging, edge_event_logger
from tests.test_house import ROOMS

CapturedText = Callable[[], str]

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "logs.md"
LEVELS = {"debug", "info", "warning", "error", "exception"}
LOGGERS = {"_log", "log", "_logger"}
_ROW = re.compile(r"^\| `(\w+)` \| ([\w, ]*)\| ")


@pytest.fixture
def captured(capsys: pytest.CaptureFixture[str]) -> Iterator[CapturedText]:
    """Returns the text on standard error; restores logging afterwards."""
    root, kept = logging.getLogger(), logging.getLogger().handlers[:]
    level = root.level
    yield lambda: capsys.readouterr().err
    root.handlers[:] = kept
    root.setLevel(level)
    structlog.reset_defaults()


def lines_of(captured: CapturedText) -> list[dict[str, Any]]:
    """Each line as a JSON object."""
    return [json.loads(line) for line in captured().splitlines()]


def test_a_line_has_role_instance_and_need(captured: CapturedText) -> None:
    """Role, instance and logger; the need is derived from the id of the reaction."""
    configure_logging("info", "json", role="react", instance="react-2")
    structlog.get_logger("sender").info("sent", reaction="tank-7/oil/3/order/1")
    (line,) = lines_of(captured)
    assert (line["role"], line["instance"], line["logger"], line["level"]) == ("react", "react-2", "sender", "info")
    assert line["need"] == "tank-7/oil/3"


def test_lines_of_libraries_are_json_too(captured: CapturedText) -> None:
    """A warning with a traceback is one JSON line; info lines of libraries are not logged."""
    configure_logging("info", "json", role="gate")
    logging.getLogger("faust.transport").info("connected")
    try:
        raise OSError("connection reset")
    except OSError:
        logging.getLogger("faust.transport").warning("unable to connect to %s", "kafka-1", exc_info=True)
    logging.getLogger("aiokafka.conn").warning("unable to connect, ten times a second; our own events say it once")
    (line,) = lines_of(captured)
    assert (line["event"], line["logger"], line["role"]) == ("unable to connect to kafka-1", "faust.transport", "gate")
    assert "connection reset" in line["exception"]


def test_lines_below_the_level_are_dropped(captured: CapturedText) -> None:
    """With level warning, info is dropped; an unknown form of reaction id gives no need."""
    configure_logging("warning", "json")
    structlog.get_logger("sender").info("sent", reaction="tank-7/oil/3/order/1")
    structlog.get_logger("sender").warning("gave_up_delivery", reaction="of another kind")
    (line,) = lines_of(captured)
    assert "need" not in line
    assert "role" not in line


def test_errors_of_edge_are_warnings_and_connecting_clients_are_not(captured: CapturedText) -> None:
    """Parts of edge have no levels; `edge_event_logger` assigns them."""
    configure_logging("warning", "json")
    say = edge_event_logger("gate")
    say("client_connected", client="tank-7")
    say("log_not_written", error="disk full", retry_s=0.1)
    (line,) = lines_of(captured)
    assert (line["event"], line["level"], line["error"]) == ("log_not_written", "warning", "disk full")


def test_people_at_a_terminal_get_readable_lines(captured: CapturedText) -> None:
    """The console format is not JSON, and has the event and its fields."""
    configure_logging("info", "console", role="up")
    structlog.get_logger("service").info("changed_fleet", rows=3)
    line = captured()
    assert "changed_fleet" in line
    assert not line.startswith("{")


def events_of(room: str, tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    """Every event that a module logs, with its fields."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        fields = {word.arg for word in node.keywords if word.arg}
        texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        by, name = node.func.value, node.func.attr
        if isinstance(by, ast.Name) and by.id in LOGGERS and name in LEVELS:
            assert texts, f"{room}:{node.lineno}: an event has a fixed name"
            yield texts[0], fields
        elif room == "edge" and name in ("_log_event", "_close") and texts:
            yield texts[0], fields | ({"client"} if name == "_close" else set())
        elif name == "retry_until_stored":
            yield texts[-1], {"error", "retry_s"}


def test_the_page_lists_every_event_with_its_fields() -> None:
    """docs/reference/logs.md and the source have the same events with the same fields."""
    found: dict[str, set[str]] = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            for event, fields in events_of(room, ast.parse(path.read_text())):
                found.setdefault(event, set()).update(fields)
    rows = [row for row in map(_ROW.match, PAGE.read_text().splitlines()) if row]
    page = {row[1]: {field.strip() for field in row[2].split(",") if field.strip()} for row in rows}
    assert page == found
    assert list(page) == sorted(page)
    assert page.keys() >= WARNING_EVENTS
