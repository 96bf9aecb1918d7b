"""Logging of the processes: structlog to standard error, for people on a terminal and JSON otherwise."""

from __future__ import annotations

import logging
import sys

import structlog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(level: str, form: str) -> None:
    """Sets structlog and the libraries' loggers up. level: debug to error; form: auto, console or json."""
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # Faust, mode and uvicorn speak through the standard library; what they say below a warning is theirs alone.
    logging.basicConfig(
        stream=sys.stderr, level=max(_LEVELS[level], logging.WARNING), format="%(levelname)s %(name)s %(message)s"
    )
