"""Faults of the real InfluxDB: nothing is lost, the fault is reported, and everything else continues."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from config.profile_schema import RawReadingsMode
from star.records import decode
from star.sense import Readings
from stream.sinks.influx_sink import NAME_TRIES_MAX, TOPICS
from stream.sinks.options import GROUP, InfluxOptions
from stream.topics import FORECASTS, INPUT, SERVICE
from tests.stream.sinks.rig import AT_MS, InfluxQueries, SinkRig, eventually, forecast, run_until_caught_up, running
from tests.support.servers import InfluxOfTest


def values(asking: InfluxQueries) -> list[float]:
    """The values of all stored readings, by time."""
    return [row["value"] for row in asking.influxql("SELECT value FROM reading")]


async def test_records_of_an_outage_are_written_when_the_server_is_back(
    rig: SinkRig, influx: InfluxOfTest, asking: InfluxQueries
) -> None:
    """The log is the buffer: the group's offsets stay where they are, and everything is written later, in order."""
    async with running(rig.sink()) as sink:
        for number in range(50):
            await rig.append_readings(("tank-7/oil", AT_MS + number, float(number)))
        await rig.caught_up()
        await asyncio.to_thread(influx.stop)
        with capture_logs() as logs:
            for number in range(50, 250):
                await rig.append_readings(("tank-7/oil", AT_MS + number, float(number)))
            await rig.append_json(FORECASTS, [forecast("tank-7/oil", AT_MS)])
            await eventually(lambda: sink.status().reachable is False, "the sink did not notice")
            await asyncio.sleep(1.0)
        assert await rig.behind() == 201
        assert influx.url in (sink.status().last_error or "")
        assert [one["event"] for one in logs].count("influx_not_written") <= 3, (
            "one outage is logged once, not for every try"
        )
        await asyncio.to_thread(influx.start)
        await rig.caught_up()
        assert sink.status().reachable
    assert values(asking) == [float(number) for number in range(250)]
    assert len(asking.influxql("SELECT * FROM forecast")) == 1


@pytest.mark.soak
async def test_an_outage_of_two_minutes_is_caught_up_in_order(
    rig: SinkRig, influx: InfluxOfTest, asking: InfluxQueries
) -> None:
    """With the service's own pauses, while readings continue to arrive."""
    usual = InfluxOptions(url=influx.url)
    waits = {name: getattr(usual, name) for name in ("flush_interval_s", "backoff_s", "backoff_max_s", "connect_s")}
    async with running(rig.sink(**waits)) as sink:
        await asyncio.to_thread(influx.stop, "kill")
        for number in range(6_000):
            await rig.append_readings(("tank-7/oil", AT_MS + number, float(number)))
            await asyncio.sleep(0.02)
        assert sink.status().reachable is False
        assert await rig.behind() == 6_000
        await asyncio.to_thread(influx.start)
        await eventually(lambda: sink.status().written_points == 6_000, "the sink did not catch up", 90.0)
        await rig.caught_up()
    assert values(asking) == [float(number) for number in range(6_000)]


async def test_a_sink_killed_between_write_and_commit_writes_the_same_points_again(
    rig: SinkRig, asking: InfluxQueries
) -> None:
    """The same records give the same points, wherever the sink is cancelled."""
    for number in range(40):
        await rig.append_readings(
            ("tank-7/oil", AT_MS + number, float(number)), ("tank-8/oil", AT_MS + number, float(-number))
        )
    for number in range(12):
        async with running(rig.sink(batch_points=10, flush_interval_s=0.01)):
            await asyncio.sleep(0.01 * number)
    await run_until_caught_up(rig)
    before = asking.everything()
    follower = rig.client.subscribe(TOPICS, group=GROUP)
    await follower.start()
    await follower.commit({(INPUT, 0): 0})
    await follower.close()
    await run_until_caught_up(rig)
    assert asking.everything() == before
    assert len(before) == 80


async def test_every_kept_record_can_be_written_again_into_a_lost_bucket(
    rig: SinkRig, influx: InfluxOfTest, asking: InfluxQueries
) -> None:
    """After `rewind` a run changes no stored point, and restores missing ones."""
    for number in range(30):
        await rig.append_readings(("tank-7/oil", AT_MS + number, float(number)))
    await rig.append_json(FORECASTS, [forecast("tank-7/oil", AT_MS)])
    sink = rig.sink()
    await run_until_caught_up(rig, sink)
    before = asking.everything()
    await rig.sink().rewind()
    assert await rig.behind() == 31
    await run_until_caught_up(rig)
    assert asking.everything() == before
    span = {"start": "1970-01-01T00:00:00Z", "stop": "2100-01-01T00:00:00Z"}
    asking.api("POST", "delete", params={"org": influx.org, "bucket": influx.bucket}, json=span)
    assert asking.everything() == []
    again = rig.sink()
    await again.rewind()
    await run_until_caught_up(rig, again)
    assert asking.everything() == before


async def test_a_wrong_token_is_reported_and_a_right_one_in_its_file_works_without_a_restart(
    rig: SinkRig, influx: InfluxOfTest, asking: InfluxQueries, tmp_path: Path
) -> None:
    """Nothing is dropped meanwhile, and the token is in no message."""
    file = tmp_path / "token"
    file.write_text("a-wrong-secret\n")
    await rig.append_readings(("tank-7/oil", AT_MS, 1.0))
    with capture_logs() as logs:
        async with running(rig.sink(token_file=file)) as sink:
            await eventually(lambda: sink.status().reachable is False, "the sink did not notice")
            error = sink.status().last_error or ""
            assert "STARLOOP_INFLUX_TOKEN_FILE" in error
            assert "401" in error
            assert influx.bucket in error
            assert await rig.behind() == 1
            file.unlink()
            await eventually(lambda: str(file) in (sink.status().last_error or ""), "a missing file is not reported")
            file.write_text(influx.token)
            await rig.caught_up()
            assert sink.status().reachable
    assert "a-wrong-secret" not in str(logs) + error
    assert values(asking) == [1]


async def test_a_read_only_token_is_distinguished_from_an_unknown_one(rig: SinkRig, asking: InfluxQueries) -> None:
    """403: the token needs a permission; it need not be replaced."""
    org = asking.api("GET", "orgs")["orgs"][0]["id"]
    wanted = {"orgID": org, "permissions": [{"action": "read", "resource": {"type": "buckets"}}]}
    token = asking.api("POST", "authorizations", json=wanted)["token"]
    async with running(rig.sink(token=token)) as sink:
        await eventually(lambda: sink.status().reachable is False, "the sink did not notice")
    error = sink.status().last_error or ""
    assert "may not write to bucket" in error
    assert token not in error


async def test_a_missing_bucket_or_organisation_is_reported_before_the_first_write(
    rig: SinkRig,
) -> None:
    """An empty request finds it, so that readiness reports it at once."""
    async with running(rig.sink(bucket="nope")) as sink:
        await eventually(lambda: sink.status().reachable is False, "the sink did not notice")
    assert "STARLOOP_INFLUX_BUCKET" in (sink.status().last_error or "")
    async with running(rig.sink(org="nowhere")) as sink:
        await eventually(lambda: sink.status().reachable is False, "the sink did not notice")
    assert "STARLOOP_INFLUX_ORG" in (sink.status().last_error or "")


async def test_a_field_of_another_type_costs_only_the_points_that_have_it(rig: SinkRig, asking: InfluxQueries) -> None:
    """They are quarantined with InfluxDB's reason; the other measurements are written."""
    asking.write(f"service,role=gate,instance=a other=1i {AT_MS}")
    for number in range(20):
        fields = {"other": 1.5} if number in (3, 11) else {"mine": float(number)}
        await rig.append_json(SERVICE, {"at_ms": AT_MS + number, "role": "gate", "instance": "a", "fields": fields})
    await rig.append_readings(("tank-7/oil", AT_MS, 1.0))
    with capture_logs() as logs:
        sink = await run_until_caught_up(rig)
    assert [row["mine"] for row in asking.influxql("SELECT mine FROM service")] == [
        n for n in range(20) if n not in (3, 11)
    ]
    assert values(asking) == [1]
    assert sink.status().rejected_points == 2
    assert sink.status().written_points == 19
    aside = rig.quarantined()
    assert [one.payload for one in aside] == [
        f"service,instance=a,role=gate other=1.5 {AT_MS + number}".encode() for number in (3, 11)
    ]
    assert "field type conflict" in aside[0].reason
    assert "influx_set_aside" in [one["event"] for one in logs]


async def test_an_unparsable_line_is_found_among_a_thousand(rig: SinkRig, asking: InfluxQueries) -> None:
    """One such line rejects the whole request, so the other lines are written without it."""
    year_9000_ms = 221_845_392_000_000
    await rig.append_readings(*(("tank-7/oil", AT_MS + n if n != 700 else year_9000_ms, float(n)) for n in range(1000)))
    await run_until_caught_up(rig)
    assert values(asking) == [float(n) for n in range(1000) if n != 700]
    assert [one.payload.decode() for one in rig.quarantined()] == [
        f"reading,customer=maria,device=tank-7,metric=oil value=700.0 {year_9000_ms}"
    ]


async def test_where_nearly_every_line_is_rejected_larger_pieces_are_quarantined(
    rig: SinkRig, asking: InfluxQueries
) -> None:
    """A wrong type of every line costs a limited number of requests, and every line is in quarantine."""
    asking.write(f"reading,device=x value=1i {AT_MS}")
    for number in range(5):
        await rig.append_readings(*((f"tank-7/v{n}", AT_MS + number, 1.5) for n in range(1000)))
    await rig.append_json(FORECASTS, [forecast("tank-7/oil", AT_MS)])
    sink = await run_until_caught_up(rig, rig.sink(refused_max=5))
    kept = [line for one in rig.quarantined() for line in one.payload.splitlines()]
    refused = [line for line in kept if line.startswith(b"reading")]
    assert len(refused) == len(set(refused)) == 5000
    assert len(rig.quarantined()) < 200
    assert sink.status().rejected_points == len(kept)


async def test_points_older_than_the_bucket_s_retention_are_counted_and_not_quarantined(
    rig: SinkRig, influx: InfluxOfTest, asking: InfluxQueries
) -> None:
    """A back-fill into a bucket that keeps one day: what retention drops is no error."""
    number = asking.api("GET", "buckets", params={"name": influx.bucket})["buckets"][0]["id"]
    rules = {"retentionRules": [{"type": "expire", "everySeconds": 86_400, "shardGroupDurationSeconds": 3600}]}
    asking.api("PATCH", f"buckets/{number}", json=rules)
    now_ms = time.time_ns() // 1_000_000
    await rig.append_readings(*(("tank-7/oil", now_ms - n * 7_200_000, float(n)) for n in range(30)))
    sink = await run_until_caught_up(rig)
    assert len(values(asking)) == sink.status().written_points == 12
    assert sink.status().too_old_points == 18
    assert rig.quarantined() == []


async def test_a_record_of_another_schema_is_quarantined_whole(rig: SinkRig, asking: InfluxQueries) -> None:
    """It does not stop the sink."""
    await rig.append(FORECASTS, b"{", b'[{"item": 7}]')
    await rig.append(INPUT, b"Rnonsense")
    await rig.append_readings(("tank-7/oil", AT_MS, 1.0))
    sink = await run_until_caught_up(rig)
    assert {one.payload for one in rig.quarantined()} == {b"{", b'[{"item": 7}]', b"Rnonsense"}
    assert values(asking) == [1]
    assert sink.status().rejected_points == 3


async def test_a_metric_named_by_another_process_is_looked_up_at_its_first_reading(
    rig: SinkRig, asking: InfluxQueries
) -> None:
    """The registry is read again for an unknown number only."""
    await rig.append_readings(("tank-7/oil", AT_MS, 1.0))
    await rig.append_readings(("tank-7/oil", AT_MS + 1, 2.0))
    await run_until_caught_up(rig)
    assert values(asking) == [1, 2]
    assert rig.names.refreshes == 1


async def test_the_sink_waits_for_a_registry_that_is_away(
    rig: SinkRig, asking: InfluxQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For as long as it takes: no reading is quarantined because PostgreSQL restarts."""
    monkeypatch.setattr("stream.sinks.influx_sink.NAME_RETRY_S", 0.001)
    rig.names.away = 3 * NAME_TRIES_MAX
    await rig.append_readings(("tank-7/oil", AT_MS, 1.0))
    await run_until_caught_up(rig)
    assert values(asking) == [1]
    assert rig.quarantined() == []


async def test_the_event_loop_stays_responsive_while_the_sink_catches_up(rig: SinkRig) -> None:
    """Also where hardly any reading is written, so that no request makes the sink wait."""
    number = rig.names.number("tank-7/oil")
    at_ms = np.arange(4_000, dtype=np.int64) + AT_MS
    same, none = np.full(4_000, number, dtype=np.int32), np.full(4_000, -1, dtype=np.int64)
    readings = Readings(metric=same, at_ms=at_ms, arrived_ms=at_ms, value=at_ms * 0.5, boot=none, seq=none)
    await rig.append_records(*[readings] * 300)
    loop, gaps = asyncio.get_running_loop(), [0.0]
    async with running(rig.sink(readings=RawReadingsMode.SAMPLED, flush_interval_s=1.0)):
        before_s = loop.time()
        while await rig.behind():
            await asyncio.sleep(0.001)
            gaps.append(loop.time() - before_s)
            before_s = loop.time()
    assert max(gaps) < 0.3, f"the loop stood still for {max(gaps):.3f} s"


async def test_readings_of_a_metric_without_a_name_are_quarantined_and_the_others_written(
    rig: SinkRig, asking: InfluxQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry restored from a backup may lack names of the log's metrics."""
    monkeypatch.setattr("stream.sinks.influx_sink.NAME_RETRY_S", 0.001)
    rig.names.number("tank-7/oil")
    rows = [(0, AT_MS, AT_MS, 1.0, -1, -1), (9, AT_MS, AT_MS, 2.0, -1, -1), (0, AT_MS + 1, AT_MS, 3.0, -1, -1)]
    await rig.append_records(Readings.from_rows(rows))
    await run_until_caught_up(rig)
    assert values(asking) == [1, 3]
    (aside,) = rig.quarantined()
    left_out = decode(aside.payload)
    assert isinstance(left_out, Readings)
    assert left_out.value.tolist() == [2.0]


async def test_raw_readings_can_be_off_and_everything_else_is_written(rig: SinkRig, asking: InfluxQueries) -> None:
    """The input is committed nevertheless, so that turning them on later does not start at the oldest record."""
    await rig.append_readings(("tank-7/oil", AT_MS, 1.0))
    await rig.append_json(FORECASTS, [forecast("tank-7/oil", AT_MS)])
    await run_until_caught_up(rig, rig.sink(readings=RawReadingsMode.OFF))
    assert [row["measurement"] for row in asking.everything()] == ["forecast"]


async def test_bodies_are_compressed_for_another_machine(rig: SinkRig, asking: InfluxQueries) -> None:
    """The real server reads compressed bodies; on loopback they are not, unless the setting says so."""
    assert not rig.options.compress
    assert replace(rig.options, url="https://influx.example:8086").compress
    await rig.append_readings(*(("tank-7/oil", AT_MS + n, float(n)) for n in range(100)))
    await run_until_caught_up(rig, rig.sink(gzip=True))
    assert values(asking) == [float(n) for n in range(100)]
