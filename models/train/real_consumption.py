"""Daily consumption of real homes, from redistributable data sets: water fixtures and appliances, electricity.

Optional training data, used where a folder of it is given. Sources: "WEUSEDTO", water use of one home (CC BY 4.0);
"Individual household electric power consumption", one home over four years (CC BY 4.0).
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.train.run_out_examples import Examples, examples_of

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

EXAMPLES_PER_SERIES = 400
HELD_OUT = ("Shower", "Sub_metering_1")
"""Series held out of training, for metrics: their names contain these words."""
_WATER = "consumption/weusedto_water"
_POWER = "consumption/household_power/household_power_consumption_days.csv"
_FLOWS = ("Bidet", "Kitchenfaucet", "Shower", "Washbasin")
_FUTURE_DAYS_MIN = 40
_FLOW_GAP_S_MAX = 30.0  # longest time that a flow is assumed to last after its sample
_CYCLE_GAP_S = 3600.0  # pause in a washing machine's flow after which a new cycle begins
_DAY_S = 86_400
_HOME_IDS = 900_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RealConsumption:
    """Examples of real consumption. fitted, held_out: None where there is none; names: of the fitted series."""

    fitted: Examples | None = None
    held_out: Examples | None = None
    names: tuple[str, ...] = ()


def load_real_consumption(seed: int, data_dir: Path | None) -> RealConsumption:
    """Examples of the series in `data_dir`; empty for None. The series in HELD_OUT are separate."""
    if data_dir is None:
        return RealConsumption()
    fitted, held_out, names = [], [], []
    for number, (name, _, use) in enumerate(consumption_series(data_dir)):
        rng = np.random.default_rng([seed, 7, number])
        ids = np.array([_HOME_IDS + number])
        relative = (use / max(float(use.mean()), 1e-9))[None, :]
        examples = examples_of(rng, relative, EXAMPLES_PER_SERIES, "real", ids, _FUTURE_DAYS_MIN)
        if any(word in name for word in HELD_OUT):
            held_out.append(examples)
        else:
            fitted.append(examples)
            names.append(name)
    return RealConsumption(
        fitted=Examples.concatenate(fitted) if fitted else None,
        held_out=Examples.concatenate(held_out) if held_out else None,
        names=tuple(names),
    )


def consumption_series(data_dir: Path) -> Iterator[tuple[str, int, Float64]]:
    """(name, first day since the epoch, daily consumption) of each series found, in a fixed order."""
    water = data_dir / _WATER
    for name in _FLOWS:
        path = water / f"{name}.csv.gz"
        if path.is_file():
            times, flows = _columns(path)
            lasted = np.minimum(np.diff(times, append=times[-1]), _FLOW_GAP_S_MAX)
            yield f"weusedto {name} (CC BY 4.0)", *_by_day(times, flows * lasted)
    for name in ("Toilet", "Dishwasher30"):
        path = water / f"{name}.csv"
        if path.is_file():
            times, _ = _columns(path)
            yield f"weusedto {name} (CC BY 4.0)", *_by_day(times, np.ones(len(times)))
    path = water / "Washingmachine.csv"
    if path.is_file():
        times, flows = _columns(path)
        wet = times[flows > 0]
        starts = wet[np.diff(wet, prepend=-np.inf) > _CYCLE_GAP_S]
        yield "weusedto Washingmachine (CC BY 4.0)", *_by_day(starts, np.ones(len(starts)))
    yield from _power(data_dir / _POWER)


def _columns(path: Path) -> tuple[Float64, Float64]:
    """(times in seconds since the epoch, flows) of a file separated by commas or blanks, in order of time; other rows are skipped."""
    rows = []
    for line in read_text(path).splitlines():
        fields = line.replace(",", " ").split()
        try:
            row = (float(fields[0]), float(fields[1]))
        except (ValueError, IndexError):
            continue  # the heading, or a truncated line
        if row[0] > 0:
            rows.append(row)
    table = np.array(sorted(rows))
    return table[:, 0], table[:, 1]


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, decompressed where its name ends with .gz."""
    return (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode("utf-8")


def epoch_day(iso: str) -> int:
    """Days since the epoch of a date in ISO 8601."""
    return int(np.datetime64(iso, "D").astype(np.int64))


def sum_by_day(days: Int64, amounts: Float64, span: tuple[int, int]) -> tuple[int, Float64]:
    """(first whole day, (k,) amounts summed by day from there on).

    span: the first and the last day of the series, which are left out, as they may be incomplete.
    """
    first, last = span[0] + 1, span[1]
    inside = (days >= first) & (days < last)
    use = np.bincount(days[inside] - first, weights=amounts[inside], minlength=last - first)
    return first, np.asarray(use, dtype=np.float64)


def _by_day(times: Float64, amounts: Float64) -> tuple[int, Float64]:
    days = (times // _DAY_S).astype(np.int64)
    return sum_by_day(days, amounts, (int(days[0]), int(days[-1])))


def _power(path: Path) -> Iterator[tuple[str, int, Float64]]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    first = epoch_day(rows[0]["datetime"])
    for column in ("Global_active_power", "Sub_metering_1", "Sub_metering_2", "Sub_metering_3"):
        yield f"household power {column} (CC BY 4.0)", first, np.array([float(row[column]) for row in rows])
