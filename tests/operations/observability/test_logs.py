"""Log lines: JSON that says whose it is and of which need, and a page that lists every event."""

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

Said = Callable[[], str]

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "logs.md"
ROOMS = (
    "star",
    "config",
    "edge",
    "simulators",
    "models",
    "stream",
    "reactor",
    "console",
    "runtime",
    "evaluation",
    "operations",
    "starloop",
)
LEVELS = {"debug", "info", "warning", "error", "exception"}
LOGGERS = {"_log", "log", "_logger"}
_ROW = re.compile(r"^\| `(\w+)` \| ([\w, ]*)\| ")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Said]:
    """What is said on standard error; afterwards logging is as it was."""
    root, kept = logging.getLogger(), logging.getLogger().handlers[:]
    level = root.level
    yield lambda: capsys.readouterr().err
    root.handlers[:] = kept
    root.setLevel(level)
    structlog.reset_defaults()


def lines_of(said: Said) -> list[dict[str, Any]]:
    """Each line as the object that it is."""
    return [json.loads(line) for line in said().splitlines()]


def test_a_line_says_whose_it_is_and_of_which_need(said: Said) -> None:
    """Role, instance, the part that speaks; the need comes from the reaction's id."""
    configure_logging("info", "json", role="react", instance="react-2")
    structlog.get_logger("sender").info("sent", reaction="tank-7/oil/3/order/1")
    (line,) = lines_of(said)
    assert (line["role"], line["instance"], line["logger"], line["level"]) == ("react", "react-2", "sender", "info")
    assert line["need"] == "tank-7/oil/3"


def test_what_libraries_say_is_json_too(said: Said) -> None:
    """A warning of a library with a traceback is one line and one object; its news is not said."""
    configure_logging("info", "json", role="gate")
    logging.getLogger("faust.transport").info("connected")
    try:
        raise OSError("connection reset")
    except OSError:
        logging.getLogger("faust.transport").warning("unable to connect to %s", "kafka-1", exc_info=True)
    logging.getLogger("aiokafka.conn").warning("unable to connect, ten times a second; our own events say it once")
    (line,) = lines_of(said)
    assert (line["event"], line["logger"], line["role"]) == ("unable to connect to kafka-1", "faust.transport", "gate")
    assert "connection reset" in line["exception"]


def test_a_level_is_kept_to(said: Said) -> None:
    """With warning, no news; a reaction's id of another form gives no need."""
    configure_logging("warning", "json")
    structlog.get_logger("sender").info("sent", reaction="tank-7/oil/3/order/1")
    structlog.get_logger("sender").warning("gave_up_delivery", reaction="of another kind")
    (line,) = lines_of(said)
    assert "need" not in line
    assert "role" not in line


def test_trouble_at_the_edge_is_a_warning_and_a_client_that_comes_is_not(said: Said) -> None:
    """Parts of edge know no levels; `saying` gives them."""
    configure_logging("warning", "json")
    say = edge_event_logger("gate")
    say("client_connected", client="tank-7")
    say("log_not_written", error="disk full", retry_s=0.1)
    (line,) = lines_of(said)
    assert (line["event"], line["level"], line["error"]) == ("log_not_written", "warning", "disk full")


def test_people_at_a_terminal_get_a_line_they_can_read(said: Said) -> None:
    """The console form is no JSON, and holds the event and its fields."""
    configure_logging("info", "console", role="up")
    structlog.get_logger("service").info("changed_fleet", rows=3)
    line = said()
    assert "changed_fleet" in line
    assert not line.startswith("{")


def events_of(room: str, tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    """Every event that a module says, with its fields."""
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
    """docs/reference/logs.md and the source name the same events, and the same fields of each."""
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
