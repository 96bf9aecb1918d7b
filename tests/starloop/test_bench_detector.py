"""`starloop bench detector`: what a reading costs the analysis, told with its parts."""

from __future__ import annotations

import json
import subprocess
import sys


def test_a_reading_costs_microseconds_and_the_parts_add_up() -> None:
    """Both loads have a figure in all, of what is taken in and of the looks; the bound is loose, for machines that are busy."""
    done = subprocess.run(
        [sys.executable, "-m", "starloop", "bench", "detector", "--json", "--runs", "1", "--readings", "40000"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = [figure["median"] for figure in json.loads(done.stdout)["figures"]]
    for in_all, taken, looked, looks in (rows[:4], rows[4:]):
        assert abs(in_all - taken - looked) < 1e-9
        assert 0.0 < in_all < 100.0
        assert 0.0 <= looks <= 1.0
    assert rows[3] > 0.1  # a quarter of an hour is long enough for a look, two seconds are not
