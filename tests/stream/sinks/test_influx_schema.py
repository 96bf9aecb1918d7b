"""Every measurement of docs/reference/influx.md, written to the real InfluxDB and queried by InfluxQL and Flux."""

from __future__ import annotations

from typing import Any

import pytest

from reactor.delivery.cloudevents import event_bytes
from star.react import Reaction, ReactionType
from star.records import Tick
from stream.topics import CALIBRATION, DECISIONS, FORECASTS, REACTIONS, SCORES, SERVICE
from tests.stream.sinks.rig import AT_MS, InfluxQueries, SinkRig, forecast, run_until_caught_up

ITEM = {"customer": "maria", "device": "tank-7", "item": "tank-7/oil"}
ODD = "a b,c=d\"e'é☕\\"
DECIDED = {
    "at_ms": AT_MS,
    "decisions": [
        {"id": "tank-7/oil/3/d1", "need": "tank-7/oil/3", "item": "tank-7/oil", "customer": "maria", "kind": "run-out",
         "verdict": "starloop.order.requested", "reaction": "tank-7/oil/3/order/1", "rules": [["consent", True]]},
        {"id": "tank-8/oil/1/d1", "need": "tank-8/oil/1", "item": "tank-8/oil", "customer": "maria", "kind": "run-out",
         "verdict": "refused", "reaction": None, "rules": [["consent", True], ["quiet hours", False], ["price", False]]},
    ],
    "outcomes": [
        {"id": "o1", "item": "tank-7/oil", "customer": "maria", "reaction": "tank-7/oil/3/order/1", "result": "delivered",
         "at_ms": AT_MS + 5, "timing": "early", "csat": 4},
        {"id": "o2", "item": "tank-8/oil", "customer": "maria", "reaction": None, "result": "refilled", "at_ms": AT_MS + 6,
         "timing": None, "csat": None},
    ],
    "judged": [],
}  # fmt: skip


def order() -> Reaction:
    """An order of 500 litres."""
    return Reaction(
        id="tank-7/oil/3/order/1", type=ReactionType.ORDER_REQUESTED, at_ms=AT_MS + 1, need="tank-7/oil/3", attempt=1,
        device="tank-7", item="oil", customer="maria", because="soon empty", supplier="acme", sku="x", quantity=500.0,
        price=450.5,
    )  # fmt: skip


async def tell_everything(rig: SinkRig) -> None:
    """A record of every kind, and a tick, which gives no point."""
    await rig.append_readings(
        ("tank-7/oil", AT_MS, 500.0), ("tank-7/oil", AT_MS + 60_000, 499.5), (f"tank-7/{ODD}", AT_MS, -1e-7)
    )
    await rig.append_records(Tick(at_ms=AT_MS + 1))
    await rig.append_json(FORECASTS, [forecast("tank-7/oil", AT_MS), forecast("tank-8/oil", AT_MS, level=1)])
    scores: list[dict[str, Any]] = [
        {"device": "tank-7", "item": "tank-7/pump", "customer": "maria", "at_ms": AT_MS, "anomaly": 0.25, "alert": True,
         "life": [10, 20.0, 30.0]},
        {"device": "tank-8", "item": "tank-8/pump", "at_ms": AT_MS, "anomaly": 0, "alert": False, "life": None},
    ]  # fmt: skip
    await rig.append_json(SCORES, scores)
    await rig.append_json(CALIBRATION, [{"item": "tank-7/oil", "customer": "maria", "at_ms": AT_MS, "level": 0.1}])
    await rig.append_json(DECISIONS, DECIDED)
    await rig.append(REACTIONS, event_bytes(order()))
    fields = {"readings_per_s": 12, "lag records": 0.0}
    await rig.append_json(SERVICE, {"at_ms": AT_MS, "role": "gate", "instance": "box 1", "fields": fields})


async def test_every_measurement_has_the_tags_fields_and_units_of_the_schema(
    rig: SinkRig, asking: InfluxQueries
) -> None:
    """InfluxQL, which InfluxDB 2 and 3 support, returns what was written, to the millisecond."""
    await tell_everything(rig)
    sink = await run_until_caught_up(rig)
    found = asking.everything()
    assert sink.status().written_points == len(found) == 14
    assert rig.quarantined() == []
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        by_name.setdefault(row.pop("measurement"), []).append(row)
    assert by_name["reading"] == [
        {"time": AT_MS, "customer": "maria", "device": "tank-7", "metric": ODD + " ", "value": -1e-7},
        {"time": AT_MS, "customer": "maria", "device": "tank-7", "metric": "oil", "value": 500},
        {"time": AT_MS + 60_000, "customer": "maria", "device": "tank-7", "metric": "oil", "value": 499.5},
    ]
    days = {"q05": 8, "q25": 15, "q50": 20, "q75": 25, "q95": 36}
    assert by_name["forecast"][0] == {"time": AT_MS, **ITEM, "level": 500, "rate": 25, "trust": 0.75, **days}
    life = {"life_q05": 10, "life_q50": 20, "life_q95": 30}
    assert by_name["score"][0] == {"time": AT_MS, **ITEM, "item": "tank-7/pump", "anomaly": 0.25, "alert": 1, **life}
    assert by_name["score"][1]["customer"] == "maria"
    assert by_name["honesty"] == [{"time": AT_MS, **ITEM, "u": 0.1, "in_90": 1, "in_50": 0}]
    order_row = {"type": "starloop.order.requested", "supplier": "acme", "price": 450.5, "quantity": 500}
    named = {"need": "tank-7/oil/3", "id": "tank-7/oil/3/order/1"}
    assert by_name["reaction"] == [{"time": AT_MS + 1, **ITEM, **order_row, **named}]
    verdicts = {(row["verdict"], row["rule"], row["count"], row["kind"]) for row in by_name["decision"]}
    assert verdicts == {("starloop.order.requested", "none", 1, "run-out"), ("refused", "quiet hours", 1, "run-out")}
    assert by_name["outcome"][0] == {
        "time": AT_MS + 5, **ITEM, "result": "delivered", "count": 1, "id": "o1", "timing": "early", "csat": 4,
    }  # fmt: skip
    assert by_name["outcome"][1]["csat"] is None
    box = {"time": AT_MS, "role": "gate", "instance": "box 1"}
    assert by_name["service"] == [box | {"readings_per_s": 12, "lag records": 0}]


@pytest.mark.parametrize(
    ("measurement", "types"),
    [
        ("reading", {"value": "float"}),
        ("forecast", dict.fromkeys(("level", "q05", "q25", "q50", "q75", "q95", "rate", "trust"), "float")),
        ("score", {"alert": "integer"} | dict.fromkeys(("anomaly", "life_q05", "life_q50", "life_q95"), "float")),
        ("honesty", {"u": "float", "in_90": "integer", "in_50": "integer"}),
        ("decision", {"count": "integer", "id": "string"}),
        ("outcome", {"count": "integer", "csat": "integer", "id": "string", "timing": "string"}),
        ("reaction", {"id": "string", "need": "string", "price": "float", "quantity": "float"}),
        ("service", {"readings_per_s": "float", "lag records": "float"}),
    ],
)
async def test_a_field_has_one_type_whatever_its_first_value(
    rig: SinkRig, asking: InfluxQueries, measurement: str, types: dict[str, str]
) -> None:
    """A float field's whole numbers are written as floats, so that the next value fits."""
    await tell_everything(rig)
    await run_until_caught_up(rig)
    keys = asking.influxql(f'SHOW FIELD KEYS FROM "{measurement}"')
    assert {row["fieldKey"]: row["fieldType"] for row in keys} == types


async def test_flux_finds_the_same_points_by_their_tags(rig: SinkRig, asking: InfluxQueries) -> None:
    """Names with spaces, commas, equals signs, quotes and letters of any language are returned unchanged."""
    await tell_everything(rig)
    await run_until_caught_up(rig)
    rows = asking.flux(
        'from(bucket: BUCKET) |> range(start: 2025-01-01T00:00:00Z) |> filter(fn: (r) => r._measurement == "reading" '
        'and r.device == "tank-7" and r.metric == "oil") |> sum()'
    )
    assert [float(row["_value"]) for row in rows] == [999.5]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("two words", "two words"),
        ("a,b", "a,b"),
        ("a=b", "a=b"),
        ('say "so"', 'say "so"'),
        ("température", "température"),
        ("☕ 水", "☕ 水"),
        ("one\ntwo", "one\\ntwo"),
        ("c:\\temp", "c:\\temp"),
        ("c:\\", "c:\\ "),
        ("\\,=", "\\,="),
        ("#comment", "#comment"),
        ("\ud800", "?"),
    ],
)
async def test_a_value_may_have_any_name(rig: SinkRig, asking: InfluxQueries, name: str, kept: str) -> None:
    """What a tag cannot contain is written as text, and the next line is not affected."""
    await rig.append_readings((f"tank-7/{name}", AT_MS, 1.0), ("tank-7/next", AT_MS, 2.0))
    await run_until_caught_up(rig)
    found = {row["metric"]: row["value"] for row in asking.everything()}
    assert found == {kept: 1, "next": 2}


async def test_numbers_are_returned_unchanged(rig: SinkRig, asking: InfluxQueries) -> None:
    """The smallest and the largest float, and times before 1970."""
    values = [0.1, -0.0, 5e-324, 1.7976931348623157e308, 1e16, 123456789.123456789, -273.15]
    await rig.append_readings(*(("tank-7/oil", number - 3, value) for number, value in enumerate(values)))
    await run_until_caught_up(rig)
    rows = asking.influxql("SELECT value FROM reading WHERE time >= -1s")
    assert [(row["time"], row["value"]) for row in rows] == [(number - 3, v) for number, v in enumerate(values)]


async def test_of_two_readings_of_one_metric_at_one_time_the_last_stays(rig: SinkRig, asking: InfluxQueries) -> None:
    """Within a record, and over records."""
    await rig.append_readings(("tank-7/oil", AT_MS, 1.0), ("tank-7/oil", AT_MS, 2.0))
    await rig.append_readings(("tank-7/oil", AT_MS, 3.0))
    await run_until_caught_up(rig)
    assert [row["value"] for row in asking.everything()] == [3]
