"""`starloop bench`: benchmarks, reported with machine, load, median and range."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from operations.observability.logging import configure_logging
from starloop.bench.measurements import Measurement, machine_description


@click.group()
def command() -> None:
    """Run benchmarks on this machine. Every run and every load generator is a separate process."""


_runs = click.option("--runs", type=click.IntRange(1, 50), default=5, show_default=True, help="Number of runs.")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@command.command()
@click.option(
    "--readings", type=click.IntRange(1_000), default=500_000, show_default=True, help="Readings in the file."
)
@_runs
@_json
def replay(readings: int, runs: int, as_json: bool) -> None:
    """Throughput of `starloop replay`, with one reading per line."""
    from starloop.bench import replay as bench

    with tempfile.TemporaryDirectory(prefix="starloop-bench-") as folder:
        _print_measurements(bench.run(Path(folder), readings, runs), as_json)


@command.command()
@click.option("--readings", type=click.IntRange(1_000), default=400_000, show_default=True, help="Readings measured.")
@_runs
@_json
def detector(readings: int, runs: int, as_json: bool) -> None:
    """CPU time per reading of the run-out detector with its model, in batches of 1,000 readings and a tick."""
    from starloop.bench import detector as bench

    _print_measurements(bench.run(readings, runs), as_json)


@command.command()
@click.option(
    "--messages", type=click.IntRange(1_000), default=500_000, show_default=True, help="Messages at full speed."
)
@click.option(
    "--rate", type=click.IntRange(100), default=10_000, show_default=True, help="Messages per second at constant rate."
)
@click.option("--qos", type=click.IntRange(0, 1), default=0, show_default=True)
@_runs
@_json
def ingest(messages: int, rate: int, qos: int, runs: int, as_json: bool) -> None:
    """Throughput over MQTT into durable state with forecasts, and decision latency at a constant rate."""
    from starloop.bench import ingest as bench

    with tempfile.TemporaryDirectory(prefix="starloop-bench-") as folder:
        full_speed = bench.MqttLoad(messages=messages, qos=qos)
        steady = bench.MqttLoad(messages=rate * 10, qos=qos, rate_per_s=float(rate))
        figures = bench.run(Path(folder), full_speed, runs, f"fast-qos{qos}")
        figures += bench.run(Path(folder), steady, runs, f"steady-{rate}")
        _print_measurements(figures, as_json)


@command.command()
@click.option("--url", help="InfluxDB to write to.  [default: STARLOOP_INFLUX_URL]")
@click.option("--org", help="Organisation.  [default: STARLOOP_INFLUX_ORG]")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with a token that can create and delete buckets.  [default: STARLOOP_INFLUX_TOKEN_FILE]",
)
@click.option("--readings", type=click.IntRange(1_000), default=500_000, show_default=True, help="Readings in the log.")
@click.option(
    "--batch", type=click.IntRange(100, 100_000), default=10_000, show_default=True, help="Points per request."
)
@_runs
@_json
def influx(
    url: str | None, org: str | None, token_file: Path | None, readings: int, batch: int, runs: int, as_json: bool
) -> None:
    """Throughput from the log to InfluxDB. Each run uses a temporary bucket."""
    from config.settings import Settings
    from starloop.bench import influx as bench
    from stream.sinks.options import InfluxOptions

    settings = Settings.read(influx_url=url, influx_org=org, influx_token_file=token_file)
    if settings.influx_url is None:
        raise click.UsageError("no InfluxDB: expected --url or STARLOOP_INFLUX_URL")
    token = settings.influx_token.get_secret_value() if settings.influx_token else ""
    options = InfluxOptions(
        url=settings.influx_url,
        org=settings.influx_org,
        token=token,
        token_file=settings.influx_token_file,
        batch_points=batch,
    )
    with tempfile.TemporaryDirectory(prefix="starloop-bench-") as folder:
        _print_measurements(bench.run(Path(folder), options, readings, runs), as_json)


@command.command()
@click.option(
    "--readings", type=click.IntRange(100_000), default=4_000_000, show_default=True, help="Readings in the history."
)
@click.option(
    "--devices",
    type=click.IntRange(100),
    default=20_000,
    show_default=True,
    help="Devices, each with its own customer.",
)
@click.option(
    "--rate",
    type=click.IntRange(100),
    multiple=True,
    help="Measure latency at this live rate (readings per second) instead; repeatable.",
)
@click.option(
    "--seconds", type=click.IntRange(5), default=20, show_default=True, help="Duration of a live run in seconds."
)
@_runs
@_json
def kafka(readings: int, devices: int, rate: tuple[int, ...], seconds: int, runs: int, as_json: bool) -> None:
    """Throughput of one stream worker on Kafka, with state and facts; or its latency at a live --rate.

    STARLOOP_LOG and STARLOOP_STORE name Kafka and PostgreSQL. Each run uses temporary topics and a temporary database.
    """
    from config.settings import Settings
    from starloop.bench import kafka as bench

    settings = Settings.read()
    configure_logging("error", "auto")
    with tempfile.TemporaryDirectory(prefix="starloop-bench-") as folder:
        if not rate:
            load = bench.KafkaLoad(devices=devices, readings=readings)
            _print_measurements(bench.run(Path(folder), settings, load, runs), as_json)
            return
        figures = []
        for one in rate:
            figures += bench.run_live(
                Path(folder), settings, bench.KafkaLoad(devices=devices, rate_per_s=one), seconds, runs
            )
        _print_measurements(figures, as_json)


@command.command()
@click.option("--role", type=click.Choice(("stream", "reactor")), default="stream", show_default=True)
@click.option("--kills", type=click.IntRange(1, 100), default=10, show_default=True, help="Number of kills.")
@click.option("--standbys", type=click.IntRange(0, 1), default=0, show_default=True, help="As STARLOOP_STANDBYS.")
@_json
def takeover(role: str, kills: int, standbys: int, as_json: bool) -> None:
    """Time until all partitions resume after kill -9 of one of two workers, under a constant load.

    STARLOOP_LOG and STARLOOP_STORE name Kafka and PostgreSQL. Temporary topics and a temporary database are used.
    """
    from config.settings import Settings
    from starloop.bench import takeover as bench

    settings = Settings.read()
    configure_logging("error", "auto")
    with tempfile.TemporaryDirectory(prefix="starloop-bench-") as folder:
        _print_measurements(bench.run(Path(folder), settings, role, kills, standbys), as_json)


def _print_measurements(figures: list[Measurement], as_json: bool) -> None:
    if as_json:
        click.echo(
            json.dumps(
                {"machine": machine_description(), "figures": [asdict(one) | {"median": one.median} for one in figures]}
            )
        )
        return
    click.echo(machine_description())
    for one in figures:
        click.echo(one.format_line())
