"""`starloop bench`: the benchmarks, told with the machine, the load, the median and the spread."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from starloop.bench.figures import Figure, machine


@click.group()
def command() -> None:
    """Measures this machine with this build. Each run is a process of its own; the load is another."""


_runs = click.option("--runs", type=click.IntRange(1, 50), default=5, show_default=True, help="How often.")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@command.command()
@click.option(
    "--readings", type=click.IntRange(1_000), default=500_000, show_default=True, help="Readings in the file."
)
@_runs
@_json
def replay(readings: int, runs: int, as_json: bool) -> None:
    """Readings a second of `starloop replay`, one reading a line."""
    from starloop.bench import replay as bench

    with tempfile.TemporaryDirectory(prefix="starloop-bench-") as folder:
        _tell(bench.run(Path(folder), readings, runs), as_json)


@command.command()
@click.option(
    "--messages", type=click.IntRange(1_000), default=500_000, show_default=True, help="Messages of the fast load."
)
@click.option(
    "--rate", type=click.IntRange(100), default=10_000, show_default=True, help="Messages a second of the steady load."
)
@click.option("--qos", type=click.IntRange(0, 1), default=0, show_default=True)
@_runs
@_json
def ingest(messages: int, rate: int, qos: int, runs: int, as_json: bool) -> None:
    """Readings a second over MQTT into durable state, forecasts included; and how soon decisions follow at a steady rate."""
    from starloop.bench import ingest as bench

    with tempfile.TemporaryDirectory(prefix="starloop-bench-") as folder:
        fast = bench.Load(messages=messages, qos=qos)
        steady = bench.Load(messages=rate * 10, qos=qos, rate_per_s=float(rate))
        figures = bench.run(Path(folder), fast, runs, f"fast-qos{qos}")
        figures += bench.run(Path(folder), steady, runs, f"steady-{rate}")
        _tell(figures, as_json)


def _tell(figures: list[Figure], as_json: bool) -> None:
    if as_json:
        click.echo(
            json.dumps({"machine": machine(), "figures": [asdict(one) | {"median": one.median} for one in figures]})
        )
        return
    click.echo(machine())
    for one in figures:
        click.echo(one.line())
