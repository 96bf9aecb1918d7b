"""Normal quantiles: three precisions of the same numbers."""

from __future__ import annotations

from statistics import NormalDist

from star.analyse import QUANTILES
from star.quantiles import Z_EXACT, Z_ROUNDED, Z


def test_every_table_of_quantiles_agrees_with_the_normal_distribution() -> None:
    """Each holds every level of a forecast, in order, within its precision; the exact and rounded ones are symmetric."""
    for table, error in ((Z, 0.0), (Z_EXACT, 1e-15), (Z_ROUNDED, 5e-8)):
        assert tuple(table) == QUANTILES
        assert all(abs(z - NormalDist().inv_cdf(level)) <= error for level, z in table.items())
    for table in (Z_EXACT, Z_ROUNDED):
        values = list(table.values())
        assert values == [-z for z in reversed(values)]
