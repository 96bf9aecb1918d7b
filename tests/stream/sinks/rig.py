"""What the tests of the InfluxDB sink share: an embedded log, a small fleet, names in memory, and queries of the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from config.catalogue import Catalogue
from star.errors import StoreError
from star.records import Quarantined, Record, encode
from star.sense import Readings
from stream.partition.partitioner import decode_quarantined
from stream.sinks.influx_sink import TOPICS, InfluxSink
from stream.sinks.options import GROUP, InfluxOptions
from stream.topics import INPUT, QUARANTINE, topic_specs
from stream.transports.embedded_log.client import EmbeddedClient
from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.log_client import Entry
from tests.stream.analysis_bench import single_customer_fleet, tank
from tests.support.servers import InfluxOfTest

WAIT_S_MAX = 30.0
AT_MS = 1_764_000_000_000


class Names:
    """A registry whose new names this process knows only after `refresh`."""

    def __init__(self, *names: str) -> None:
        self.durable = list(names)
        self.known = list(names)
        self.refreshes = 0
        self.away = 0

    def number(self, name: str) -> int:
        """The name's number, which other processes can read at once."""
        if name not in self.durable:
            self.durable.append(name)
        return self.durable.index(name)

    def name(self, number: int) -> str:
        """The number's name, as of the last `refresh`."""
        try:
            return self.known[number]
        except IndexError:
            raise KeyError(number) from None

    def refresh(self) -> None:
        """Reads new names."""
        if self.away > 0:
            self.away -= 1
            raise StoreError("the store can't be reached")
        self.refreshes += 1
        self.known = list(self.durable)


class SinkRig:
    """A log with the service's topics, and options of a server."""

    def __init__(self, folder: Path, options: InfluxOptions) -> None:
        self.folder = folder
        self.log = SqliteLog(folder / "log.db")
        self.client = EmbeddedClient(self.log, topic_specs())
        self.options = options
        self.names = Names()
        self.catalogue: Catalogue = single_customer_fleet([tank("tank-7"), tank("tank-8")])

    async def append(self, topic: str, *values: bytes) -> None:
        """Appends records to a topic."""
        await self.client.append([Entry(topic, 0, None, value) for value in values])

    async def append_json(self, topic: str, *bodies: object) -> None:
        """Appends records of JSON."""
        await self.append(topic, *(json.dumps(body, ensure_ascii=False).encode() for body in bodies))

    async def append_readings(self, *rows: tuple[str, int, float]) -> None:
        """Appends one record of readings (metric, event time, value), whose arrival time is the event time."""
        numbered = [(self.names.number(name), at_ms, at_ms, value, -1, -1) for name, at_ms, value in rows]
        await self.append_records(Readings.from_rows(numbered))

    async def append_records(self, *records: Record) -> None:
        """Appends records to the input."""
        await self.append(INPUT, *map(encode, records))

    def sink(self, **changes: Any) -> InfluxSink:
        """A sink on the log, with changed options."""
        options = replace(self.options, **changes)
        return InfluxSink(self.client, options, names=self.names, catalogue=lambda: self.catalogue, jitter=lambda: 0.0)

    def quarantined(self) -> list[Quarantined]:
        """The quarantine's records."""
        return [decode_quarantined(value) for _, value in self.log.read(QUARANTINE, 0, 10_000)]

    async def behind(self) -> int:
        """The number of records that the sink has not committed."""
        return sum((await self.client.lag(GROUP, TOPICS)).values())

    async def caught_up(self) -> None:
        """Returns when every record of the log is committed."""

        async def committed() -> bool:
            return await self.behind() == 0

        await eventually(committed, "the sink did not catch up")


async def eventually(holds: Callable[[], Any], what: str, timeout_s: float = WAIT_S_MAX) -> None:
    """Waits until the condition holds; it may be a coroutine function."""
    end_s = asyncio.get_running_loop().time() + timeout_s
    while True:
        found = holds()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        if asyncio.get_running_loop().time() > end_s:
            pytest.fail(f"{what} in {timeout_s:g} s")
        await asyncio.sleep(0.02)


@asynccontextmanager
async def running(sink: InfluxSink) -> AsyncIterator[InfluxSink]:
    """Runs the sink inside; raises what it raised."""
    task = asyncio.create_task(sink.run())
    try:
        yield sink
        if task.done():
            task.result()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def run_until_caught_up(rig: SinkRig, sink: InfluxSink | None = None) -> InfluxSink:
    """Runs a sink until every record of the log is committed."""
    async with running(sink or rig.sink()) as one:
        await rig.caught_up()
    return one


class InfluxQueries:
    """Queries of a test's bucket on the real server."""

    def __init__(self, influx: InfluxOfTest) -> None:
        self.influx = influx
        self._headers = {"authorization": f"Token {influx.token}"}

    def api(self, method: str, path: str, **what: Any) -> Any:
        """Sends a request to the server's own API; gives the response."""
        url = f"{self.influx.url}/api/v2/{path}"
        answer = httpx.request(method, url, headers=self._headers, timeout=30, **what).raise_for_status()
        return answer.json() if answer.content else None

    def influxql(self, query: str) -> list[dict[str, Any]]:
        """Rows of an InfluxQL response: tags and columns alike, times in milliseconds."""
        params = {"db": self.influx.bucket, "q": query, "epoch": "ms"}
        found = httpx.get(f"{self.influx.url}/query", params=params, headers=self._headers, timeout=30)
        result = found.raise_for_status().json()["results"][0]
        assert "error" not in result, result
        return [
            dict(zip(series["columns"], row, strict=True)) | series.get("tags", {})
            for series in result.get("series", ())
            for row in series["values"]
        ]

    def flux(self, query: str) -> list[dict[str, str]]:
        """Rows of a Flux response, as CSV gives them."""
        body = {"query": query.replace("BUCKET", json.dumps(self.influx.bucket)), "dialect": {"annotations": []}}
        found = httpx.post(
            f"{self.influx.url}/api/v2/query",
            params={"org": self.influx.org},
            headers=self._headers,
            json=body,
            timeout=30,
        ).raise_for_status()
        tables = [block.splitlines() for block in found.text.replace("\r\n", "\n").strip().split("\n\n") if block]
        return [dict(zip(lines[0].split(","), row.split(","), strict=False)) for lines in tables for row in lines[1:]]

    def everything(self) -> list[dict[str, Any]]:
        """Every point of every measurement."""
        names = [row["name"] for row in self.influxql("SHOW MEASUREMENTS")]
        return [{"measurement": name} | row for name in names for row in self.influxql(f'SELECT * FROM "{name}"')]

    def write(self, lines: str) -> None:
        """Writes lines as another client would."""
        params = {"org": self.influx.org, "bucket": self.influx.bucket, "precision": "ms"}
        httpx.post(
            f"{self.influx.url}/api/v2/write", params=params, headers=self._headers, content=lines, timeout=30
        ).raise_for_status()


def quantiles(median: float) -> list[float]:
    """Nine ascending quantiles."""
    return [median * share for share in (0.2, 0.4, 0.5, 0.75, 1.0, 1.25, 1.5, 1.8, 2.5)]


def forecast(item: str, at_ms: int, **changes: Any) -> dict[str, Any]:
    """A forecast in the topic's schema."""
    row = {"item": item, "at_ms": at_ms, "level": 500.0, "days": quantiles(20.0), "rate_per_day": 25.0, "trust": 0.75}
    row |= {"model": "m@1:x", "readings": 9, "reading_ms": at_ms, "reading": 500.0, "history_days": 3.0}
    return row | changes
