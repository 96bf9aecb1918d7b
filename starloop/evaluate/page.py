"""Writes the evaluation's page and figures into a folder docs/."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starloop.evaluate.figures import cost_figure, coverage_figure
from starloop.evaluate.tables import FIGURES, page


def write_docs(scores: Mapping[str, Any], docs: Path) -> None:
    """docs/explanation/evaluation.md and its two figures."""
    folder = docs / "explanation"
    folder.mkdir(exist_ok=True)
    (folder / "evaluation.md").write_text(page(scores))
    for name, drawn in zip(FIGURES, (cost_figure(scores), coverage_figure(scores)), strict=True):
        (folder / name).write_text(drawn)
