"""The evaluation's charts as SVG: cost by family on a logarithmic scale, and coverage by family, each with its intervals.

The SVG is written directly: two kinds of chart do not justify a plotting library. The colours read on light and dark pages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from evaluation.scoring.scores import FILTERED, INFORMED, SERVICE

Scores = Mapping[str, Any]
Place = Callable[[float], float]

WIDTH, LEFT, RIGHT, ROW, TOP = 900, 140, 24, 26, 66
OVERALL = "all"
"""Label of the first row: the geometric mean of costs, the coverage of all forecasts."""
_COLOURS = {SERVICE: "#0b7fb8", INFORMED: "#4c9a2a", FILTERED: "#d9822b"}
_LABELS = {SERVICE: "service", INFORMED: "informed", FILTERED: "newsvendor, filtered"}
_PLAIN = ("newsvendor", "threshold", "order-up-to", "moving-average")
_GREY = "#767676"
_MARK_OFFSETS_PX = {SERVICE: 0.0, INFORMED: -7.0, FILTERED: 7.0}
"""Vertical offset of each policy's mark in its row, so that intervals do not cover each other."""


def cost_chart(scores: Scores, title: str) -> str:
    """The chart of cost over the clairvoyant's, an SVG document.

    The service, the informed policy and the filtered newsvendor have intervals, the plain policies are small grey marks. Values
    beyond the right edge are drawn at it.
    """
    rows = {OVERALL: scores["overall"]["policies"]}
    rows |= {name: family["policies"] for name, family in scores["families"].items()}
    highs = [row[policy]["over_clairvoyant"][2] for row in rows.values() for policy in _COLOURS]
    high = max(10.0, 1.1 * max(highs))

    def place(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(min(max(value, 1.0), high)) / math.log(high)

    marks = [one for one in (1, 2, 3, 5, 10, 20, 50, 100, 200, 500) if one <= high]
    body = list(_axis(list(rows), [(place(one), str(one)) for one in marks]))
    body += _legend(
        {_LABELS[policy]: colour for policy, colour in _COLOURS.items()}
        | {"the other policies (at the right edge: that value or more)": _GREY}
    )
    for number, row in enumerate(rows.values()):
        y = TOP + ROW * number + ROW / 2
        body += [_circle(place(row[policy]["over_clairvoyant"][0]), y, 2.0, _GREY) for policy in _PLAIN]
        for policy, colour in _COLOURS.items():
            body += _mark(place, row[policy]["over_clairvoyant"], y + _MARK_OFFSETS_PX[policy], colour)
    return _svg(body, len(rows), title)


def coverage_chart(scores: Scores) -> str:
    """The chart of the coverage of the 90 % and 50 % intervals, an SVG document. Grey bands: the target, narrower overall."""
    rows = {OVERALL: scores["overall"]["forecasts"]}
    rows |= {name: family["service"]["forecasts"] for name, family in scores["families"].items()}

    def place(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value

    body = [
        f'<rect x="{place(low):.1f}" y="{TOP + ROW * first}" width="{place(high) - place(low):.1f}" height="{ROW * count}" '
        f'fill="{_GREY}" opacity="0.25"/>'
        for low, high, first, count in ((0.45, 0.55, 0, 1), (0.87, 0.93, 0, 1), (0.80, 0.97, 1, len(rows) - 1))
    ]
    body += _axis(list(rows), [(place(one / 10.0), f"{one * 10} %") for one in range(0, 11, 2)])
    narrow, wide, near = _COLOURS[FILTERED], _COLOURS[SERVICE], _COLOURS[INFORMED]
    body += _legend({"25 to 75 %": narrow, "5 to 95 %": wide, "5 to 95 %, near the end": near})
    for number, row in enumerate(rows.values()):
        y = TOP + ROW * number + ROW / 2
        for of, key, colour, apart in (
            ("all", "covered_25_75", narrow, 0.0),
            ("all", "covered_5_95", wide, -4.0),
            ("near_end", "covered_5_95", near, 4.0),
        ):
            if key in row[of]:
                body += _mark(place, row[of][key], y + apart, colour)
    return _svg(body, len(rows), "Coverage of the forecast intervals; grey: the target")


def _axis(names: Sequence[str], marks: Sequence[tuple[float, str]]) -> Iterator[str]:
    bottom = TOP + ROW * len(names)
    for number, name in enumerate(names):
        y = TOP + ROW * number
        if number % 2:
            yield f'<rect x="0" y="{y}" width="{WIDTH}" height="{ROW}" fill="{_GREY}" opacity="0.07"/>'
        weight = ' font-weight="bold"' if name == OVERALL else ""
        yield f'<text x="{LEFT - 10}" y="{y + ROW / 2 + 4:.1f}" text-anchor="end"{weight}>{name}</text>'
    for x, text in marks:
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" stroke="{_GREY}" stroke-width="0.5"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{text}</text>'


def _legend(entries: Mapping[str, str]) -> Iterator[str]:
    x = LEFT
    for name, colour in entries.items():
        yield _circle(x, 46.0, 4.0, colour) + f'<text x="{x + 9}" y="50">{name}</text>'
        x += 40 + 7 * len(name)


def _mark(place: Place, values: Sequence[float], y: float, colour: str) -> Iterator[str]:
    """A figure with its interval."""
    middle, low, high = values
    ends = f'x1="{place(low):.1f}" x2="{place(high):.1f}" y1="{y:.1f}" y2="{y:.1f}"'
    yield f'<line {ends} stroke="{colour}" stroke-width="2"/>'
    yield _circle(place(middle), y, 4.0, colour)


def _circle(x: float, y: float, radius: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}"/>'


def _svg(body: Sequence[str], rows: int, title: str) -> str:
    height = TOP + ROW * rows + 30
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" '
        f'fill="{_GREY}"><title>{title}</title><text x="{LEFT}" y="26" font-size="15">{title}</text>'
    )
    return "\n".join([head, *body, "</svg>"]) + "\n"
