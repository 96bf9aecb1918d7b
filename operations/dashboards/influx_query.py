"""InfluxQL query of a panel, for which the Grafana SDK has no type."""

from __future__ import annotations

from dataclasses import dataclass

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import DataSourceRef

SOURCE = DataSourceRef(type_val="influxdb", uid="${datasource}")
"""Data source selected by the first variable of the dashboard."""
SELECTED = '$timeFilter AND "customer" =~ /^$customer$/'
"""Filter of every query: the time range and the selected customer."""
DEVICE = SELECTED + ' AND "device" =~ /^$device$/'
EVERY = "time($every)"
"""Time grouping of every time series."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluxQuery(Dataquery, Builder[Dataquery]):
    """An InfluxQL query with Grafana macros and variables.

    table: return rows instead of one series per tag set. alias: series name, in which `$tag_role` and `$col` stand for a tag and
    the column. annotation_column: column with the text, for an annotation query.
    """

    text: str
    ref: str = "A"
    alias: str | None = None
    table: bool = False
    annotation_column: str | None = None

    def build(self) -> Dataquery:
        """Returns the query itself, which is complete already."""
        return self

    def to_json(self) -> dict[str, object]:
        """The query in the form of Grafana's InfluxDB plug-in."""
        fields: dict[str, object] = {
            "datasource": {"type": SOURCE.type_val, "uid": SOURCE.uid},
            "query": self.text,
            "rawQuery": True,
            "refId": self.ref,
            "resultFormat": "table" if self.table else "time_series",
        }
        if self.alias is not None:
            fields["alias"] = self.alias
        if self.annotation_column is not None:
            fields |= {"fromAnnotations": True, "queryType": "tags", "textColumn": self.annotation_column}
        return fields


def series_query(text: str, alias: str, ref: str = "A") -> InfluxQuery:
    """A time series query."""
    return InfluxQuery(text=text, alias=alias, ref=ref)


def table_query(text: str) -> InfluxQuery:
    """A table query."""
    return InfluxQuery(text=text, table=True)
