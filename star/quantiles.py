"""Quantiles of the standard normal distribution: the one table of them.

New code takes Z. The other two hold the values that decisions, forecasts and trained models were computed with: another last
digit would change their bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist

from star.analyse import QUANTILES

Z: Mapping[float, float] = {level: NormalDist().inv_cdf(level) for level in QUANTILES}
"""By level, at star.analyse.QUANTILES, as statistics.NormalDist computes them: within 1e-15, not symmetric in the last digit."""

Z_ROUNDED: Mapping[float, float] = {level: round(z, 7) for level, z in Z.items()}
"""The same to 7 decimals."""

_UPPER = {0.75: 0.6744897501960817, 0.90: 1.2815515655446004, 0.95: 1.6448536269514722, 0.99: 2.3263478740408408}


def _correctly_rounded(level: float) -> float:
    if level == 0.5:
        return 0.0
    return _UPPER[level] if level > 0.5 else -_UPPER[round(1.0 - level, 2)]


Z_EXACT: Mapping[float, float] = {level: _correctly_rounded(level) for level in QUANTILES}
"""The same, correctly rounded to a double and symmetric."""
