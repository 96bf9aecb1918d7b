"""Measurements over several runs, and a description of the machine."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One quantity over several runs, in order."""

    name: str
    unit: str
    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the runs."""
        return statistics.median(self.runs)

    def format_line(self) -> str:
        """One line for people: median, minimum and maximum."""
        spread = f"({_shown(min(self.runs))} to {_shown(max(self.runs))}, {len(self.runs)} runs)"
        return f"{self.name:<42} {_shown(self.median):>12} {self.unit}  {spread}"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine_description() -> str:
    """One line with processor, cores, Python and operating system."""
    info = Path("/proc/cpuinfo")
    models = (
        [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    processor = models[0] if models else platform.machine()
    system = f"{platform.system()} {platform.release()}"
    return f"{os.cpu_count()} x {processor}, Python {platform.python_version()}, {system}"
