"""Asks InfluxDB what a dashboard asks it: macros and variables substituted as Grafana does it, InfluxQL over HTTP.

Grafana itself is not here: what this proves is that the query as it stands in the file is answered, and with data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from operations.dashboards.files import DASHBOARDS, files
from operations.dashboards.layout import Options
from star.times import DAY_MS, HOUR_MS, SECOND_MS

UNIT_MS = {"h": HOUR_MS, "d": DAY_MS}
POINTS_SHOWN = 120

Values = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardQuery:
    """A query of a dashboard, and the panel (or variable, or annotation) that asks it. since_ms: over how long."""

    dashboard: str
    title: str
    text: str
    since_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluxServer:
    """An InfluxDB with a bucket."""

    url: str
    token: str
    bucket: str

    def query(self, text: str) -> list[dict[str, Any]]:
        """The series that answer one InfluxQL query. Fails where the server finds a mistake in it."""
        answer = httpx.post(
            f"{self.url}/query",
            params={"db": self.bucket, "epoch": "ms"},
            data={"q": text},
            headers={"authorization": f"Token {self.token}"},
            timeout=60,
        )
        assert answer.status_code == httpx.codes.OK, f"{text}: {answer.text}"
        (result,) = answer.json()["results"]
        assert "error" not in result, f"{text}: {result['error']}"
        found: list[dict[str, Any]] = result.get("series", [])
        return found


def length_ms(text: str) -> int:
    """`7d`, `6h`."""
    return int(text[:-1]) * UNIT_MS[text[-1]]


def dashboards(options: Options | None = None) -> dict[str, dict[str, Any]]:
    """Each dashboard as its file has it, by name."""
    texts = files(options or Options())
    return {name: json.loads(texts[f"dashboards/{name}.json"]) for name in DASHBOARDS}


def panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Its panels but for headings."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def panel_queries(name: str) -> Iterator[DashboardQuery]:
    """Every query of every panel."""
    dashboard = dashboards()[name]
    shown = dashboard["time"]["from"].removeprefix("now-")
    for panel in panels(dashboard):
        since_ms = length_ms(panel.get("timeFrom") or shown)
        for target in panel["targets"]:
            yield DashboardQuery(dashboard=name, title=panel["title"], text=target["query"], since_ms=since_ms)


def annotation_queries(name: str) -> Iterator[DashboardQuery]:
    """Every query that marks moments."""
    dashboard = dashboards()[name]
    since_ms = length_ms(dashboard["time"]["from"].removeprefix("now-"))
    for one in dashboard.get("annotations", {}).get("list", []):
        yield DashboardQuery(dashboard=name, title=one["name"], text=one["target"]["query"], since_ms=since_ms)


def variable_values(server: InfluxServer, name: str, **given: str) -> dict[str, str]:
    """The variables' values when the dashboard is opened: all where it has all, else the first value that its query finds."""
    values: dict[str, str] = dict(given)
    for variable in dashboards()[name]["templating"]["list"]:
        key = variable["name"]
        if key in values:
            continue
        if variable["type"] == "query":
            found = server.query(substitute(variable["query"], values))
            names = sorted({row[1] for series in found for row in series["values"]})
            assert names, f"{name}: the variable {key} finds nothing: {variable['query']}"
            values[key] = variable["allValue"] if variable.get("includeAll") else names[0]
        elif variable["type"] == "textbox":
            values[key] = variable["query"]
    return values


def substitute(text: str, values: Values, *, from_ms: int = 0, to_ms: int = 0) -> str:
    """The query as it leaves Grafana for a time shown."""
    every_s = max(60, (to_ms - from_ms) // POINTS_SHOWN // SECOND_MS)
    macros = {
        "timeFilter": f"time >= {from_ms}ms and time <= {to_ms}ms",
        "every": f"{every_s}s",
        "__range_s": str((to_ms - from_ms) // SECOND_MS),
    }
    known = {**values, **macros}
    for key in sorted(known, key=len, reverse=True):
        text = re.sub(rf"\${key}\b", lambda _, key=key: known[key], text)  # type: ignore[misc]
    assert "$" not in re.sub(r"\$/", "", text), f"not all is substituted: {text}"
    return text


def has_data(series: list[dict[str, Any]]) -> bool:
    """Whether there is a value in the answer, apart from times."""
    return any(
        value is not None
        for one in series
        for row in one["values"]
        for column, value in zip(one["columns"], row, strict=True)
        if column != "time"
    )


def queries_without_data(
    server: InfluxServer, queries: Iterable[DashboardQuery], values: Values, now_ms: int
) -> list[DashboardQuery]:
    """The queries without data at that moment."""

    def asked(query: DashboardQuery) -> bool:
        text = substitute(query.text, values, from_ms=now_ms - query.since_ms, to_ms=now_ms)
        return has_data(server.query(text))

    return [query for query in queries if not asked(query)]
