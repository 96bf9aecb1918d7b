"""Every query of every dashboard, answered by a real InfluxDB that a simulated neighbourhood was told to."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from config.profile_schema import RawReadingsMode
from operations.dashboards.files import DASHBOARDS
from operations.observability.metrics_snapshot import FIGURES
from star.times import DAY_MS
from stream.sinks.options import InfluxOptions
from tests.operations.dashboards.simulated import SimulatedService, run_simulated_service
from tests.stream.sinks.rig import run_until_caught_up
from tests.support.grafana_queries import (
    InfluxServer,
    annotation_queries,
    panel_queries,
    queries_without_data,
    substitute,
    variable_values,
)
from tests.support.servers import InfluxOfTest

SEED, HOMES, DAYS = 3, 50, 61
"""Two months, the last day of which is the day that is looked at; before, the forecasts learn and people answer."""

RARE = {"Empty now", "Cancelled", "Timing feedback", "Satisfaction", "Run-outs not avoided"}
"""Panels of what may not have happened in the time that their dashboard shows."""


@dataclass(frozen=True, slots=True)
class Filled:
    """InfluxDB with what the neighbourhood's life left there, and how it ended."""

    server: InfluxServer
    life: SimulatedService

    @property
    def now_ms(self) -> int:
        """The end of the last day."""
        return self.life.neighbourhood.now_ms


@pytest.fixture(scope="module")
def filled(influx_server: object, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """One life for all tests here."""
    influx = InfluxOfTest(influx_server)  # type: ignore[arg-type]
    options = InfluxOptions(
        url=influx.url, org=influx.org, bucket=influx.bucket, token=influx.token, readings=RawReadingsMode.SAMPLED,
        flush_interval_s=0.05, backoff_s=0.05, backoff_max_s=0.2, setup_retry_s=0.1, connect_s=2.0,
    )  # fmt: skip

    async def fill(folder: Path) -> SimulatedService:
        rig, life = await run_simulated_service(folder, options, seed=SEED, homes=HOMES, days=DAYS)
        sink = await run_until_caught_up(rig)
        assert sink.status().rejected_points == 0
        assert [one.reason for one in rig.quarantined()] == []
        rig.log.close()
        return life

    life = asyncio.run(fill(tmp_path_factory.mktemp("life")))
    return Filled(InfluxServer(url=influx.url, token=influx.token, bucket=influx.bucket), life)


def figures_told(filled: Filled) -> set[str]:
    """The figures of topic `service` that this life had: it has no gate, no outbox and no sink of its own to count."""
    (series,) = filled.server.query('SHOW FIELD KEYS FROM "service"')
    return {row[0] for row in series["values"]}


def with_data(filled: Filled, item: str) -> dict[str, str]:
    """The item dashboard's variables, for one item."""
    return variable_values(filled.server, "item", item=item)


@pytest.mark.parametrize("name", [name for name in DASHBOARDS if name not in ("item", "service")])
def test_every_panel_of_the_fleet_has_data_after_a_simulated_life(filled: Filled, name: str) -> None:
    """With all customers chosen and the time that the dashboard shows at first, each panel's query returns data.

    What is rare (an order called off, an empty shelf) need not be there on the last day, but on some earlier one.
    """
    values = variable_values(filled.server, name)
    empty = queries_without_data(filled.server, panel_queries(name), values, filled.now_ms)
    assert {query.title for query in empty} <= RARE
    for back in range(1, DAYS):
        empty = queries_without_data(filled.server, empty, values, filled.now_ms - back * DAY_MS)
    assert empty == []


def test_every_panel_of_a_slot_has_data_after_a_simulated_life(filled: Filled) -> None:
    """For an item that was ordered and delivered, each panel and annotation but the part's condition returns data."""
    series = filled.server.query(
        'SELECT count("id") FROM "outcome" WHERE "result" = \'delivered\' '
        f'AND time >= {filled.now_ms - 30 * DAY_MS}ms GROUP BY "item"'
    )
    item = max(series, key=lambda one: one["values"][0][1])["tags"]["item"]
    values = with_data(filled, item)
    empty = queries_without_data(filled.server, panel_queries("item"), values, filled.now_ms)
    assert [query.title for query in empty] == ["Condition"]
    assert queries_without_data(filled.server, annotation_queries("item"), values, filled.now_ms) == []


def test_the_condition_of_a_part_has_data_after_a_simulated_life(filled: Filled) -> None:
    """For a part that is scored, the panel of its condition returns data."""
    values = with_data(filled, "cold-room/condition")
    of_parts = [query for query in panel_queries("item") if query.title == "Condition"]
    assert len(of_parts) == 1
    assert queries_without_data(filled.server, of_parts, values, filled.now_ms) == []


def test_the_service_panels_have_data_for_every_figure_that_was_told(filled: Filled) -> None:
    """Each panel over figures that this life had returns data; the others ask for figures that a role is known to tell."""
    told = figures_told(filled)
    values = variable_values(filled.server, "service")
    for query in panel_queries("service"):
        asked = set(re.findall(r'\((?:max\()?"(\w+)"\)', query.text))
        assert asked, query.text
        assert asked <= set(FIGURES), query.text
        empty = queries_without_data(filled.server, [query], values, filled.now_ms)
        assert not empty or not asked <= told, empty
    assert len(told) >= 10


def test_every_query_stands_on_one_customer_and_on_one_device(filled: Filled) -> None:
    """With one customer (and device) chosen instead of all, every query is still answered, and of another nobody hears."""
    (series,) = filled.server.query('SHOW TAG VALUES FROM "forecast" WITH KEY = "customer"')
    first = sorted(row[1] for row in series["values"])[0]
    for name in DASHBOARDS:
        if name in ("item", "service"):
            continue
        values = variable_values(filled.server, name, customer=first)
        for query in panel_queries(name):
            text = substitute(query.text, values, from_ms=filled.now_ms - query.since_ms, to_ms=filled.now_ms)
            whose = {one["tags"]["customer"] for one in filled.server.query(text) if "customer" in one.get("tags", {})}
            assert whose <= {first}, query.title


def test_what_the_honesty_dashboard_says_is_what_was_judged(filled: Filled) -> None:
    """The share that the query finds is that of the very levels that the meters were told, over the whole life."""
    asked = 'SELECT count("u"), mean("in_90") FROM "honesty"'
    ((_, count, share),) = filled.server.query(asked)[0]["values"]
    assert count == filled.life.evaluated
    assert share == pytest.approx(filled.life.evaluated_in_90 / filled.life.evaluated)
