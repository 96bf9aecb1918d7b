"""`starloop bench detector`: CPU cost of a reading, in total and by part."""

from __future__ import annotations

import json
import subprocess
import sys


def test_a_reading_costs_microseconds_and_the_parts_add_up() -> None:
    """Both loads report the total, ingest and evaluation cost; the bound is loose, for busy machines."""
    done = subprocess.run(
        [sys.executable, "-m", "starloop", "bench", "detector", "--json", "--runs", "1", "--readings", "40000"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = [figure["median"] for figure in json.loads(done.stdout)["figures"]]
    for total, ingest, evaluation, evaluations in (rows[:4], rows[4:]):
        assert abs(total - ingest - evaluation) < 1e-9
        assert 0.0 < total < 100.0
        assert 0.0 <= evaluations <= 1.0
    assert rows[3] > 0.1  # every reading of the 15-minute load can trigger an evaluation, unlike the 2-second load
