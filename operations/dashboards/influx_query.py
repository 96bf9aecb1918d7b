"""A panel's query of InfluxDB in InfluxQL, for which the SDK has no type."""

from __future__ import annotations

from dataclasses import dataclass

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import DataSourceRef

SOURCE = DataSourceRef(type_val="influxdb", uid="${datasource}")
"""The data source that the dashboard's first variable names."""
SELECTED = '$timeFilter AND "customer" =~ /^$customer$/'
"""What every query asks for: the time shown, and the customer chosen."""
DEVICE = SELECTED + ' AND "device" =~ /^$device$/'
EVERY = "time($every)"
"""The grouping by time of everything that is drawn over time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluxQuery(Dataquery, Builder[Dataquery]):
    """text: InfluxQL with Grafana's macros and variables. table: rows rather than a series for each set of tags.

    alias: the name of a series; `$tag_role` and `$col` stand for a tag and the column. annotated: the column that says what
    happened, for a query that marks moments.
    """

    text: str
    ref: str = "A"
    alias: str | None = None
    table: bool = False
    annotation_column: str | None = None

    def build(self) -> Dataquery:
        """Itself: there is nothing to fill in."""
        return self

    def to_json(self) -> dict[str, object]:
        """As Grafana's plug-in for InfluxDB reads it."""
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
    """Lines over time."""
    return InfluxQuery(text=text, alias=alias, ref=ref)


def table_query(text: str) -> InfluxQuery:
    """Rows of a table."""
    return InfluxQuery(text=text, table=True)
