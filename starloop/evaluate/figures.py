"""The evaluation's two figures as SVG: cost by family on a logarithmic scale, and coverage by family.

Written by hand, as two figures are no reason for a plotting library; colours hold on light and dark pages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from starloop.evaluate.score import FILTERED, INFORMED, SERVICE

Scores = Mapping[str, Any]

WIDTH, LEFT, RIGHT, ROW, TOP = 900, 150, 20, 20, 60
_COLOURS = {SERVICE: "#0b6e99", INFORMED: "#4c9a2a", FILTERED: "#d9822b"}
_GREY = "#8a8a8a"


def cost_figure(scores: Scores) -> str:
    """Cost over the clairvoyant's of the service (with its interval), the informed policy and the filtered newsvendor."""
    families = scores["families"]
    every = [row["policies"][policy]["over_clairvoyant"][0] for row in families.values() for policy in _COLOURS]
    high = max(10.0, max(every) * 1.2)

    def place(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(max(value, 1.0)) / math.log(high)

    marks = [one for one in (1, 2, 3, 5, 10, 20, 50, 100, 200, 500) if one <= high]
    body = list(_axis(len(families), [(place(one), str(one)) for one in marks]))
    body += _legend(
        {"service": _COLOURS[SERVICE], "informed": _COLOURS[INFORMED], "newsvendor, filtered": _COLOURS[FILTERED]}
    )
    for number, (name, row) in enumerate(families.items()):
        y = TOP + ROW * number + ROW / 2
        body.append(_label(name, y))
        for policy in (FILTERED, INFORMED, SERVICE):
            value, lower, upper = row["policies"][policy]["over_clairvoyant"]
            if policy == SERVICE:
                body.append(_line(place(lower), place(upper), y, _COLOURS[policy]))
            body.append(f'<circle cx="{place(value):.1f}" cy="{y:.1f}" r="4" fill="{_COLOURS[policy]}"/>')
    return _svg(body, len(families), "Cost over the clairvoyant's, by family")


def coverage_figure(scores: Scores) -> str:
    """The share of truths in the 5 to 95 % and 25 to 75 % intervals, with the bands that are aimed at."""
    families = scores["families"]

    def place(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value

    height = ROW * len(families)
    body = [
        f'<rect x="{place(low):.1f}" y="{TOP}" width="{place(high) - place(low):.1f}" height="{height}" '
        f'fill="{_GREY}" opacity="0.2"/>'
        for low, high in ((0.45, 0.55), (0.80, 0.97))
    ]
    body += _axis(len(families), [(place(one / 10.0), f"{one * 10} %") for one in range(0, 11, 2)])
    body += _legend({"5 to 95 %": _COLOURS[SERVICE], "25 to 75 %": _COLOURS[FILTERED]})
    for number, (name, row) in enumerate(families.items()):
        y = TOP + ROW * number + ROW / 2
        body.append(_label(name, y))
        for key, colour in (("covered_5_95", _COLOURS[SERVICE]), ("covered_25_75", _COLOURS[FILTERED])):
            value, lower, upper = row["service"]["forecasts"]["all"].get(key, (0.0, 0.0, 0.0))
            body.append(_line(place(lower), place(upper), y, colour))
            body.append(f'<circle cx="{place(value):.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
    return _svg(body, len(families), "Share of truths within the interval, by family")


def _axis(rows: int, marks: list[tuple[float, str]]) -> Iterator[str]:
    bottom = TOP + ROW * rows
    for x, text in marks:
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" stroke="{_GREY}" stroke-width="0.5"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{text}</text>'


def _legend(entries: Mapping[str, str]) -> Iterator[str]:
    x = LEFT
    for name, colour in entries.items():
        yield f'<circle cx="{x}" cy="44" r="4" fill="{colour}"/><text x="{x + 9}" y="48">{name}</text>'
        x += 160


def _label(name: str, y: float) -> str:
    return f'<text x="{LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{name}</text>'


def _line(start: float, end: float, y: float, colour: str) -> str:
    return f'<line x1="{start:.1f}" x2="{end:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" stroke-width="2"/>'


def _svg(body: list[str], rows: int, title: str) -> str:
    height = TOP + ROW * rows + 30
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" '
        f'fill="{_GREY}"><title>{title}</title><text x="{LEFT}" y="24" font-size="15">{title}</text>'
    )
    return "\n".join([head, *body, "</svg>"]) + "\n"
