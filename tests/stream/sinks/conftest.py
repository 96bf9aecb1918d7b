"""Fixtures of the sinks' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from config.profile_schema import RawReadingsMode
from stream.sinks.options import InfluxOptions
from tests.stream.sinks.rig import InfluxQueries, SinkRig
from tests.support.servers import InfluxOfTest


@pytest.fixture
async def rig(influx: InfluxOfTest, tmp_path: Path) -> AsyncIterator[SinkRig]:
    """A log, and options of the test's own bucket: every reading is written, and pauses are short."""
    options = InfluxOptions(
        url=influx.url, org=influx.org, bucket=influx.bucket, token=influx.token, readings=RawReadingsMode.ALL,
        flush_interval_s=0.05, backoff_s=0.05, backoff_max_s=0.2, setup_retry_s=0.1, connect_s=2.0,
    )  # fmt: skip
    one = SinkRig(tmp_path, options)
    await one.client.start()
    yield one
    one.log.close()


@pytest.fixture
def asking(influx: InfluxOfTest) -> InfluxQueries:
    """Queries of the test's own bucket."""
    return InfluxQueries(influx)
