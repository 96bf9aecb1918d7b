"""Log configuration: structlog to standard error, readable on a terminal and otherwise one JSON object per line.

Every line has the role and instance, and lines about a reaction also have its need. docs/reference/logs.md lists the events.
Libraries that log through the standard library (Faust, uvicorn, aiokafka) get the same format, from level warning.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO

import structlog

from star.ids import item_of_reaction

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
Fields = MutableMapping[str, Any]


def configure_logging(level: str, form: str, *, role: str = "", instance: str = "") -> None:
    """Configures structlog and the standard library. level: debug to error. form: auto, console or json."""
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _AddIdentity(role, instance),
        add_need,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda name="", *_: _NamedPrintLogger(name, sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processor=renderer))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(_LEVELS[level], logging.WARNING))
    # While brokers are unavailable, aiokafka logs it ten times a second; our own events log it once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


class _NamedPrintLogger(structlog.PrintLogger):
    """A printing logger with a name, which `add_logger_name` needs."""

    def __init__(self, name: str, file: TextIO) -> None:
        super().__init__(file)
        self.name = name


class _AddIdentity:
    """Processor that adds role and instance, if known."""

    def __init__(self, role: str, instance: str) -> None:
        self._fields = {name: value for name, value in (("role", role), ("instance", instance)) if value}

    def __call__(self, _logger: Any, _method: str, fields: Fields) -> Fields:
        for name, value in self._fields.items():
            fields.setdefault(name, value)
        return fields


def add_need(_logger: Any, _method: str, fields: Fields) -> Fields:
    """Processor that adds the need to a line with a reaction, so that `grep NEED` finds all lines about it."""
    reaction = fields.get("reaction")
    if isinstance(reaction, str) and "need" not in fields and item_of_reaction(reaction) is not None:
        fields["need"] = reaction.rsplit("/", 2)[0]
    return fields


WARNING_EVENTS = frozenset(
    {
        "broker_lost",
        "broker_refused",
        "connection_refused",
        "log_not_written",
        "name_not_numbered",
        "outbox_not_written",
        "parcel_refused",
        "payload_refused",
        "sessions_not_saved",
        "subscription_refused",
    }
)
"""Events of edge/ that are logged as warnings; all others are info."""


def edge_event_logger(name: str) -> Callable[..., None]:
    """Log function for the parts of edge/, which have no levels: WARNING_EVENTS are warnings, others info."""
    logger = structlog.get_logger(name)

    def emit(event: str, **fields: Any) -> None:
        (logger.warning if event in WARNING_EVENTS else logger.info)(event, **fields)

    return emit
