"""Panel builders: time series, single value, table, bar chart and histogram, each with title, description and unit.

What a panel shows is defined in the module of its dashboard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import barchart, common, dashboard, histogram, stat, table, timeseries
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.table import Options as TableOptions

from operations.dashboards.influx_query import SOURCE, InfluxQuery

HEIGHT, STAT_HEIGHT = 8, 4
"""Panel heights in Grafana grid units."""
WHOLE, HALF, THIRD, QUARTER, SIXTH = 24, 12, 8, 6, 4
"""Panel widths in Grafana grid columns, of which there are 24."""
GOOD, WARN, BAD = "green", "orange", "red"

Steps = Sequence[tuple[float | None, str]]
"""Thresholds as (lower bound, colour); the first bound is None."""


@dataclass(frozen=True, slots=True)
class Column:
    """A table column: name in the query, title, unit, link (title, URL) and thresholds. title None: hidden."""

    name: str
    title: str | None = None
    unit: str | None = None
    link: tuple[str, str] | None = None
    steps: Steps = ()


HIDDEN_TIME = Column("Time")
"""Time column of an aggregate, which InfluxDB fills with the start of the range."""


def thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    """Grafana thresholds with absolute values."""
    made = [model.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(made)


def time_series_panel(
    title: str,
    description: str,
    queries: Sequence[InfluxQuery],
    unit: str,
    *,
    span: int = HALF,
    low: float | None = 0.0,
    high: float | None = None,
    stacked: bool = False,
    points: bool = False,
    steps: Steps = (),
) -> timeseries.Panel:
    """A time series: lines, stacked bars, or points for single events."""
    panel = timeseries.Panel().title(title).description(description).unit(unit).datasource(SOURCE)
    panel.span(span).height(HEIGHT).legend(_legend()).tooltip(_tooltip()).targets(list(queries))
    panel.line_width(1).fill_opacity(0).show_points(shapes.VisibilityMode.AUTO).span_nulls(True)
    if low is not None:
        panel.min(low)
    if high is not None:
        panel.max(high)
    if stacked:
        panel.draw_style(shapes.GraphDrawStyle.BARS).fill_opacity(80).span_nulls(False)
        panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A"))
    if points:
        panel.draw_style(shapes.GraphDrawStyle.POINTS).point_size(9)
    if steps:
        panel.thresholds(thresholds(steps))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(shapes.GraphThresholdsStyleMode.DASHED))
    return panel


def stat_panel(
    title: str,
    description: str,
    query: InfluxQuery,
    unit: str,
    *,
    span: int = SIXTH,
    steps: Steps = ((None, GOOD),),
    empty: str = "0",
    decimals: int | None = None,
) -> stat.Panel:
    """A single value. empty: text shown when the query returns nothing; for a count that is 0."""
    panel = stat.Panel().title(title).description(description).unit(unit).datasource(SOURCE)
    panel.span(span).height(STAT_HEIGHT).with_target(query).thresholds(thresholds(steps)).no_value(empty)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(values=False))
    panel.graph_mode(shapes.BigValueGraphMode.NONE).color_mode(shapes.BigValueColorMode.VALUE)
    if decimals is not None:
        panel.decimals(decimals)
    return panel


def table_panel(
    title: str,
    description: str,
    query: InfluxQuery,
    columns: Sequence[Column],
    *,
    span: int = HALF,
    height: int = HEIGHT,
    sort: tuple[str, bool] | None = None,
) -> table.Panel:
    """A table with `columns` in their order. sort: (title of the column, largest first)."""
    panel = table.Panel().title(title).description(description).datasource(SOURCE).with_target(query)
    panel.cell_options(shapes.TableAutoCellOptions())
    panel.span(span).height(height).show_header(show_header=True).filterable(filterable=True)
    shown = {column.name: column.title for column in columns if column.title is not None}
    hidden = {column.name: True for column in columns if column.title is None}
    order = {column.name: place for place, column in enumerate(columns)}
    options = {"excludeByName": hidden, "indexByName": order, "renameByName": shown}
    panel.with_transformation(model.DataTransformerConfig(id_val="organize", options=options))
    made = panel.build().options
    assert isinstance(made, TableOptions)
    made.footer = None  # the SDK's default is not in the table schema of Grafana any more
    for column in columns:
        if column.title is not None and _properties(column):
            panel.override_by_name(column.title, _properties(column))
    if sort is not None:
        panel.sort_by([common.TableSortByFieldState().display_name(sort[0]).desc(desc=sort[1])])
    return panel


def _properties(column: Column) -> list[model.DynamicConfigValue]:
    properties = []
    if column.unit is not None:
        properties.append(model.DynamicConfigValue(id_val="unit", value=column.unit))
    if column.link is not None:
        title, url = column.link
        properties.append(model.DynamicConfigValue(id_val="links", value=[{"title": title, "url": url}]))
    if column.steps:
        properties.append(model.DynamicConfigValue(id_val="thresholds", value=thresholds(column.steps).build()))
        properties.append(model.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}))
    return properties


def bar_panel(
    title: str,
    description: str,
    query: InfluxQuery,
    by: str,
    unit: str = "short",
    *,
    span: int = HALF,
    columns: Sequence[Column] = (),
) -> barchart.Panel:
    """A bar chart with one bar for each row of a table query, labelled with the column `by`."""
    panel = barchart.Panel().title(title).description(description).unit(unit).datasource(SOURCE).with_target(query)
    panel.span(span).height(HEIGHT).x_field(by).orientation(shapes.VizOrientation.HORIZONTAL)
    panel.legend(_legend()).tooltip(_tooltip()).show_value(shapes.VisibilityMode.AUTO).min(0).bar_width(0.7)
    panel.stacking(shapes.StackingMode.NONE).group_width(0.7).x_tick_label_rotation(0).full_highlight(
        full_highlight=False
    )
    renamed = {column.name: column.title for column in columns if column.title is not None}
    options = {"excludeByName": {"Time": True}, "renameByName": renamed}
    return panel.with_transformation(model.DataTransformerConfig(id_val="organize", options=options))


def histogram_panel(
    title: str, description: str, query: InfluxQuery, bucket: int, *, span: int = HALF
) -> histogram.Panel:
    """A histogram with buckets of this size, in percent."""
    panel = (
        histogram.Panel().title(title).description(description).unit("percent").datasource(SOURCE).with_target(query)
    )
    panel.span(span).height(HEIGHT).bucket_size(bucket).combine(combine=True).legend(_legend()).tooltip(_tooltip())
    return panel.fill_opacity(70)


def _legend() -> common.VizLegendOptions:
    legend = (
        common.VizLegendOptions().display_mode(shapes.LegendDisplayMode.LIST).placement(shapes.LegendPlacement.BOTTOM)
    )
    return legend.show_legend(show_legend=True).calcs([])


def _tooltip() -> common.VizTooltipOptions:
    tooltip = common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI)
    return tooltip.sort(shapes.SortOrder.DESCENDING)
