"""The fan chart: an item's past level and the forecast of when it is empty, as SVG. Pure; colours are the style sheet's.

Its text alternative is its <title> and <desc>, and the table beside it on the page.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import Literal

from console.backend import LevelPoint
from console.formatting import Formatter
from star.analyse import QUANTILES, Forecast
from star.times import DAY_MS

LINES_MAX = 6
"""Most lines of the grid above the lowest."""
LABEL_WIDTH = 110
"""Width of the reorder point's label in the longest language, in units of the view box."""
POINTS_MAX = 220
"""Most points of a line: about one for every four units of the widest chart; more would not be visible."""
TICK_DAYS = (1, 2, 3, 7, 14, 28, 61, 122, 183, 365)
HORIZON_MIN_MS = 2 * DAY_MS
_TOP, _BOTTOM, _RIGHT = 16, 30, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A mark of an order or a delivery."""

    at_ms: int
    kind: Literal["order", "delivery"]
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """Coordinates of times and of shares of the capacity."""

    start_ms: int
    end_ms: int
    step: float
    top_share: float
    width: int
    height: int
    left: int

    def x(self, at_ms: float) -> float:
        share = (at_ms - self.start_ms) / max(1, self.end_ms - self.start_ms)
        return self.left + min(1.0, max(0.0, share)) * (self.width - self.left - _RIGHT)

    def y(self, share: float) -> float:
        inside = min(1.0, max(0.0, share / self.top_share))
        return self.height - _BOTTOM - inside * (self.height - _BOTTOM - _TOP)


def horizon_ms(forecast: Forecast | None, history_ms: int) -> int:
    """How far ahead to draw: beyond the 95 % quantile, at most about half of the history, at least two days."""
    if forecast is None:
        return 0
    wanted = forecast.days[QUANTILES.index(0.95)] * 1.2 * DAY_MS
    return int(max(HORIZON_MIN_MS, min(wanted, max(history_ms * 0.55, 4 * HORIZON_MIN_MS))))


def fan_chart(
    history: Sequence[LevelPoint],
    forecast: Forecast | None,
    *,
    capacity: float,
    now_ms: int,
    formats: Formatter,
    reorder_point: float | None = None,
    marks: Sequence[Mark] = (),
    title: str,
    description: str,
    name: str = "fan",
    width: int = 980,
    height: int = 330,
) -> str:
    """The chart as an <svg> element. Levels in the unit of `capacity`; `name` makes its ids unique on the page.

    Without a forecast there is no fan, without history only the fan.
    """
    start_ms = min((point.at_ms for point in history), default=now_ms - DAY_MS)
    start_ms = min(start_ms, now_ms - DAY_MS // 4)
    highest = max((point.level for point in history), default=0.0) / capacity
    step = _grid_step(highest)
    frame = _Frame(
        start_ms=start_ms,
        end_ms=now_ms + horizon_ms(forecast, now_ms - start_ms),
        step=step,
        top_share=max(1.0, math.ceil(highest / step) * step),
        width=width,
        height=height,
        left=46,
    )
    parts = [
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-labelledby="{name}-t {name}-d">',
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(description)}</desc>',
        *_grid(frame, formats),
        *_date_axis(frame, formats),
        *_marks(frame, marks),
        *_now_line(frame, now_ms, formats),
    ]
    if forecast is not None:
        parts += _fan(frame, forecast, capacity, now_ms)
    parts += _history_line(frame, history, capacity)
    if reorder_point is not None:
        parts += _order_line(frame, reorder_point / capacity, history, capacity, formats)
    return "".join((*parts, "</svg>"))


def downsample(points: Sequence[LevelPoint], most: int = POINTS_MAX) -> list[LevelPoint]:
    """About `most` points that preserve the line's shape: lowest and highest of each interval, and first and last."""
    if len(points) <= most:
        return list(points)
    size = -(-len(points) * 2 // most)
    kept = [points[0]]
    for begin in range(0, len(points), size):
        stretch = points[begin : begin + size]
        ends = {min(stretch, key=lambda p: p.level).at_ms, max(stretch, key=lambda p: p.level).at_ms}
        kept += [point for point in stretch if point.at_ms in ends and point.at_ms > kept[-1].at_ms]
    if kept[-1].at_ms < points[-1].at_ms:
        kept.append(points[-1])
    return kept


def _grid_step(highest: float) -> float:
    """The share of the capacity between two lines of the grid, so that there are at most LINES_MAX lines."""
    step = 0.25
    for factor in itertools.cycle((2.0, 2.0, 2.5)):
        if highest <= step * LINES_MAX:
            return step
        step *= factor
    raise AssertionError("a cycle does not end")


def _grid(frame: _Frame, formats: Formatter) -> list[str]:
    parts = []
    lines = round(frame.top_share / frame.step)
    for index in range(lines + 1):
        share = index * frame.step
        y = frame.y(share)
        label = formats.percent(share) if index == lines else formats.number(share * 100)
        parts.append(f'<path class="grid" d="M{frame.left} {y:.1f}H{frame.width - _RIGHT}"/>')
        parts.append(f'<text class="axis" x="{frame.left - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    return parts


def _date_axis(frame: _Frame, formats: Formatter) -> list[str]:
    span_days = (frame.end_ms - frame.start_ms) / DAY_MS
    room = 5 if frame.width < 600 else 9
    if span_days < 2.5:
        return _ticks(frame, formats.clock, _hours(frame, formats, 6 if span_days > 1 else 3))
    step = next((days for days in TICK_DAYS if span_days / days <= room), TICK_DAYS[-1])
    moment = formats.local(frame.end_ms).replace(hour=0, minute=0, second=0, microsecond=0)
    moments = []
    while moment.timestamp() * 1000 >= frame.start_ms:
        moments.append(round(moment.timestamp() * 1000))
        moment = moment - timedelta(days=step)
    return _ticks(frame, formats.date, moments)


def _hours(frame: _Frame, formats: Formatter, step: int) -> list[int]:
    moment: datetime = formats.local(frame.end_ms).replace(minute=0, second=0, microsecond=0)
    moment -= timedelta(hours=moment.hour % step)
    moments = []
    while moment.timestamp() * 1000 >= frame.start_ms:
        moments.append(round(moment.timestamp() * 1000))
        moment -= timedelta(hours=step)
    return moments


def _ticks(frame: _Frame, label: Callable[[int], str], moments: Sequence[int]) -> list[str]:
    parts = []
    for moment in moments:
        x = frame.x(moment)
        # A label whose middle is near an edge would be cut off.
        if frame.left + 14 <= x <= frame.width - _RIGHT - 16:
            text = escape(label(moment))
            parts.append(f'<text class="axis" x="{x:.1f}" y="{frame.height - 8}" text-anchor="middle">{text}</text>')
    return parts


def _now_line(frame: _Frame, now_ms: int, formats: Formatter) -> list[str]:
    x = frame.x(now_ms)
    anchor, dx = ("end", -6) if x > frame.width * 0.85 else ("start", 6)
    return [
        f'<path class="now" d="M{x:.1f} {_TOP}V{frame.height - _BOTTOM}"/>',
        f'<text class="axis" x="{x + dx:.1f}" y="{_TOP + 11}" text-anchor="{anchor}">{escape(formats.texts("chart.now"))}</text>',
    ]


def _fan(frame: _Frame, forecast: Forecast, capacity: float, now_ms: int) -> list[str]:
    def band(low: float, high: float, css: str) -> str:
        early = forecast.days[QUANTILES.index(low)] * DAY_MS
        late = forecast.days[QUANTILES.index(high)] * DAY_MS
        share = forecast.level / capacity
        lower = [_depletion_point(frame, share, now_ms, early, at) for at in _corners(frame, now_ms, early, late)]
        upper = [_depletion_point(frame, share, now_ms, late, at) for at in _corners(frame, now_ms, early, late)]
        return f'<path class="{css}" d="{_path([*lower, *reversed(upper)])}Z"/>'

    share = forecast.level / capacity
    median = forecast.days[QUANTILES.index(0.5)] * DAY_MS
    line = [_depletion_point(frame, share, now_ms, median, at) for at in _corners(frame, now_ms, median, median)]
    return [
        band(0.05, 0.95, "band-wide"),
        band(0.25, 0.75, "band"),
        f'<path class="median" d="{_path(line)}"/>',
    ]


def _corners(frame: _Frame, now_ms: int, early: float, late: float) -> list[float]:
    inner = sorted({now_ms + early, now_ms + late})
    return [now_ms, *(at for at in inner if now_ms < at < frame.end_ms), frame.end_ms]


def _depletion_point(frame: _Frame, share: float, now_ms: int, empty_after: float, at: float) -> tuple[float, float]:
    left = 1.0 - (at - now_ms) / empty_after if empty_after > 0 else 0.0
    return frame.x(at), frame.y(share * max(0.0, left))


def _history_line(frame: _Frame, history: Sequence[LevelPoint], capacity: float) -> list[str]:
    points = [(frame.x(point.at_ms), frame.y(point.level / capacity)) for point in downsample(history)]
    if not points:
        return []
    x, y = points[-1]
    return [
        f'<path class="measured" d="{_path(points)}"/>',
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>',
    ]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _order_line(
    frame: _Frame, share: float, history: Sequence[LevelPoint], capacity: float, formats: Formatter
) -> list[str]:
    """The reorder point's line, labelled at the end where the history is further from it."""
    y = frame.y(share)
    text = escape(formats.texts("chart.order_point"))
    right = frame.width - _RIGHT
    crossed = [
        sum(
            start <= frame.x(p.at_ms) <= end and abs(frame.y(p.level / capacity) - y + 8) < 16
            for p in downsample(history)
        )
        for start, end in ((right - LABEL_WIDTH, right), (frame.left, frame.left + LABEL_WIDTH))
    ]
    x, anchor = (right, "end") if crossed[0] <= crossed[1] else (frame.left + 4, "start")
    return [
        f'<path class="order-line" d="M{frame.left} {y:.1f}H{right}"/>',
        f'<text class="order-label" x="{x}" y="{y - 6:.1f}" text-anchor="{anchor}">{text}</text>',
    ]


def _marks(frame: _Frame, marks: Sequence[Mark]) -> list[str]:
    parts = []
    for mark in marks:
        if not frame.start_ms <= mark.at_ms <= frame.end_ms:
            continue
        x = frame.x(mark.at_ms)
        shape = (
            f'<circle cx="{x:.1f}" cy="{_TOP + 4}" r="5"/>'
            if mark.kind == "order"
            else f'<path d="M{x - 5:.1f} {_TOP}h10l-5 9z"/>'
        )
        parts.append(
            f'<g class="mark mark-{mark.kind}"><title>{escape(mark.label)}</title>'
            f'<path class="stem" d="M{x:.1f} {_TOP + 9}V{frame.height - _BOTTOM}"/>{shape}</g>'
        )
    return parts
