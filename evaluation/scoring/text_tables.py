"""The evaluation's scores as text for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.scoring.scores import FILTERED, INFORMED, SERVICE

Scores = Mapping[str, Any]


def format_interval(values: Sequence[float], digits: int = 2) -> str:
    """A figure with its 90 % interval in brackets."""
    return f"{values[0]:.{digits}f} ({values[1]:.{digits}f} to {values[2]:.{digits}f})"


def format_share(row: Scores, key: str, *, whole: bool = False) -> str:
    """A figure of the forecasts, with its interval if `whole`; a dash where there were no such forecasts."""
    if key not in row:
        return "-"
    return format_interval(row[key]) if whole else f"{row[key][0]:.2f}"


def family_groups(scores: Scores) -> Iterator[tuple[str, Scores]]:
    """(title, scores) of the synthetic families and of those of real traces, as far as the scores have them."""
    if "families" in scores:
        yield "synthetic families", scores
    if "real" in scores:
        yield "real traces", scores["real"]


def format_scores(scores: Scores) -> Iterator[str]:
    """The scores as lines for the terminal."""
    for title, part in family_groups(scores):
        yield f"cost over the clairvoyant's, {title}"
        yield from _text(part)


def _text(scores: Scores) -> Iterator[str]:
    yield (
        f"{'':20}{'service':>22}{'informed':>10}{'filtered':>10}{'service/informed':>22}{'service/filtered':>22}"
        f"{'run-outs':>9}{'early':>7}{'orders':>7}{'5-95':>6}{'25-75':>6}{'near':>6}{'pin':>6}{'bad':>4}"
    )
    for name, family in scores["families"].items():
        policies, own = family["policies"], family["service"]
        shown = [policies[policy]["over_clairvoyant"] for policy in (SERVICE, INFORMED, FILTERED)]
        figures, forecasts = policies[SERVICE], own["forecasts"]
        near = forecasts["near_end"]
        yield (
            f"{name:20}{format_interval(shown[0]):>22}{shown[1][0]:>10.2f}{shown[2][0]:>10.2f}{format_interval(own['over_informed']):>22}"
            f"{format_interval(own['over_newsvendor_filtered']):>22}{figures['run_outs']:>9.2f}{figures['days_early']:>7.1f}"
            f"{figures['orders']:>7.1f}{format_share(forecasts['all'], 'covered_5_95'):>6}"
            f"{format_share(forecasts['all'], 'covered_25_75'):>6}{format_share(near, 'covered_5_95'):>6}"
            f"{format_share(near, 'pinball_of_28_day_mean'):>6}{own['duplicates'] + own['forbidden']:>4}"
        )
    overall = scores["overall"]
    for policy, figures in overall["policies"].items():
        yield f"{policy:20}{format_interval(figures['over_clairvoyant']):>22}  run-outs {figures['run_outs']:.3f} per item-year"
    yield f"service over informed {format_interval(overall['over_informed'], 3)}"
    yield f"service over the filtered newsvendor {format_interval(overall['over_newsvendor_filtered'], 3)}"
    for name, row in overall["forecasts"].items():
        yield f"forecasts, {name}: " + ", ".join(
            f"{key} {format_interval(value, 3) if isinstance(value, list) else value}" for key, value in row.items()
        )
