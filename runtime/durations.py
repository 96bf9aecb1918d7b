"""Durations as command-line options: 90s, 15m, 1h, 2d."""

from __future__ import annotations

import re

import click

_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Duration(click.ParamType):
    """A positive duration, parsed to milliseconds. A number without a unit is in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Milliseconds of `value`. Fails, as click does, for anything else."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?", str(value).strip())
        if match is None or float(match[1]) <= 0:
            self.fail(f"{value!r}: expected a duration such as 90s, 15m, 1h or 2d", param, ctx)
        return round(float(match[1]) * _UNIT_MS[match[2] or "s"])
