"""The kinds of panels that the dashboards are made of, each with what it needs to be read: a title, a description, a unit.

Nothing here knows what is shown; that is in the module of each dashboard.
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
"""In units of Grafana's grid."""
WHOLE, HALF, THIRD, QUARTER, SIXTH = 24, 12, 8, 6, 4
"""Widths, of the grid's 24."""
GOOD, WARN, BAD = "green", "orange", "red"

Steps = Sequence[tuple[float | None, str]]
"""From which value on which colour; the first begins at None."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: the query's name for it, its title, unit, link (title, URL) and colours. title None: not shown."""

    name: str
    title: str | None = None
    unit: str | None = None
    link: tuple[str, str] | None = None
    steps: Steps = ()


HIDDEN_TIME = Column("Time")
"""The time of a row that has none of its own."""


def thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    """Absolute thresholds."""
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
    """Values over time: lines, stacked bars, or points where each value is one happening."""
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
    """One number. empty: what is said where the query finds nothing, which for a count is none."""
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
    """A table with `columns` in their order; sort: by which title, and whether the largest comes first."""
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
    made.footer = None  # the SDK's default, which Grafana's tables know no more
    for column in columns:
        if column.title is not None and _properties(column):
            panel.override_by_name(column.title, _properties(column))
    if sort is not None:
        panel.sort_by([common.TableSortByFieldState().display_name(sort[0]).desc(desc=sort[1])])
    return panel


def _properties(column: Column) -> list[model.DynamicConfigValue]:
    found = []
    if column.unit is not None:
        found.append(model.DynamicConfigValue(id_val="unit", value=column.unit))
    if column.link is not None:
        title, url = column.link
        found.append(model.DynamicConfigValue(id_val="links", value=[{"title": title, "url": url}]))
    if column.steps:
        found.append(model.DynamicConfigValue(id_val="thresholds", value=thresholds(column.steps).build()))
        found.append(model.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}))
    return found


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
    """A bar for each row of a query for a table, named by its column `by`."""
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
    """How often values fall into buckets of this size."""
    panel = (
        histogram.Panel().title(title).description(description).unit("percent").datasource(SOURCE).with_target(query)
    )
    panel.span(span).height(HEIGHT).bucket_size(bucket).combine(combine=True).legend(_legend()).tooltip(_tooltip())
    return panel.fill_opacity(70)


def row(title: str) -> dashboard.Row:
    """A heading over the panels that follow it."""
    return dashboard.Row(title)


def _legend() -> common.VizLegendOptions:
    legend = (
        common.VizLegendOptions().display_mode(shapes.LegendDisplayMode.LIST).placement(shapes.LegendPlacement.BOTTOM)
    )
    return legend.show_legend(show_legend=True).calcs([])


def _tooltip() -> common.VizTooltipOptions:
    tooltip = common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI)
    return tooltip.sort(shapes.SortOrder.DESCENDING)
