"""Reading the goldens: files, the kind of processor that recorded them, and numbers compared where it is another."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

from numpy._core._multiarray_umath import __cpu_features__ as cpu_features  # type: ignore[attr-defined]

FOLDER = Path(__file__).parent
DIGITS = 6
"""Significant digits of numbers that must agree between kinds of processor."""


def unzipped(path: Path) -> bytes:
    """The bytes of a .gz file."""
    return gzip.decompress(path.read_bytes())


def same_processor() -> bool:
    """Whether numpy finds here the processor features that it found where the goldens were recorded."""
    recorded: list[str] = json.loads((FOLDER / "processor.json").read_text())
    return recorded == sorted(name for name, has in cpu_features.items() if has)


def agree(recorded: Any, now: Any) -> bool:
    """Whether two JSON values are the same but for the last digits of numbers."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        return recorded.keys() == now.keys() and all(agree(recorded[key], now[key]) for key in recorded)
    if isinstance(recorded, list) and isinstance(now, list):
        return len(recorded) == len(now) and all(map(agree, recorded, now))
    if isinstance(recorded, float) and isinstance(now, float):
        return math.isclose(recorded, now, rel_tol=10.0**-DIGITS, abs_tol=10.0**-DIGITS)
    return bool(recorded == now)
