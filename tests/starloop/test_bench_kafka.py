"""`starloop bench kafka` on real Kafka and PostgreSQL: it reports figures and cleans up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from sqlalchemy import create_engine, text

from stream.transports.kafka_log.options import KafkaOptions


def bench(kafka: Any, postgres: Any, *arguments: str) -> dict[str, float]:
    settings = {
        "STARLOOP_LOG": f"kafka://{kafka.bootstrap}",
        "STARLOOP_STORE": postgres.url,
        "STARLOOP_PARTITIONS": "4",
    }
    done = subprocess.run(
        [sys.executable, "-m", "starloop", "bench", "kafka", "--json", "--runs", "1", "--devices", "100", *arguments],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return {figure["name"]: figure["median"] for figure in json.loads(done.stdout)["figures"]}


async def test_catch_up_and_live_load_are_measured_and_cleaned_up(kafka: Any, postgres: Any) -> None:
    """Both modes report positive figures, and leave no topic and no database."""
    assert bench(kafka, postgres, "--readings", "100000")["kafka, readings per second"] > 1_000
    live = bench(kafka, postgres, "--rate", "1000", "--seconds", "5")
    assert 900 < live["kafka at 1,000/s, readings per second"] < 1_100
    assert 0 < live["kafka at 1,000/s, arrival to facts, median"] < 10_000
    async with KafkaOptions(brokers=(kafka.bootstrap,)).admin() as admin:
        assert [name for name in await admin.list_topics() if name.startswith("starloop-bench")] == []
    engine = create_engine(postgres.url)
    with engine.connect() as connection:
        names = connection.execute(text("SELECT datname FROM pg_database")).scalars().all()
    engine.dispose()
    assert [name for name in names if name.startswith("starloop_bench")] == []
