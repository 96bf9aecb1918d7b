"""Item dashboard: level and forecast over time, readings, orders and deliveries of one item."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.builders.dashboard import AnnotationQuery
from grafana_foundation_sdk.models.dashboard import Dashboard, DynamicConfigValue, VariableHide

from operations.dashboards import layout, reactions
from operations.dashboards.fleet import DAYS, TRUST
from operations.dashboards.influx_query import EVERY, SOURCE, InfluxQuery, series_query, table_query
from operations.dashboards.layout import Options, Panel
from operations.dashboards.panels import GOOD, HALF, SIXTH, WHOLE, stat_panel, table_panel, time_series_panel

THIS = "$timeFilter AND \"item\" = '$item'"
QUANTILES = (("q05", "5 %"), ("q25", "25 %"), ("q50", "50 %"), ("q75", "75 %"), ("q95", "95 %"))
BANDS = (("95 %", "75 %", 12), ("75 %", "25 %", 30), ("25 %", "5 %", 12))
"""Bands of the fan chart: (upper line, lower line, opacity in percent)."""
ORDERED = f'FROM "reaction" WHERE {THIS} AND "type" = \'starloop.order.requested\''
DELIVERED = f'FROM "outcome" WHERE {THIS} AND ("result" = \'delivered\' OR "result" = \'refilled\')'


def dashboard(options: Options) -> Dashboard:
    """The dashboard of one item."""
    customer_filter = 'WHERE "customer" =~ /^$customer$/'
    item = layout.choice_variable(
        "item",
        "Item",
        f'SHOW TAG VALUES FROM /^(forecast|score)$/ WITH KEY = "item" {customer_filter}',
        everything=False,
    )
    owner = layout.choice_variable(
        "item_device",
        "Device",
        'SHOW TAG VALUES FROM /^(forecast|score)$/ WITH KEY = "device" WHERE "item" = \'$item\'',
        everything=False,
    ).hide(VariableHide.HIDE_VARIABLE)
    customer = layout.customer_variable("forecast")
    variables = [
        layout.datasource_variable(options),
        customer,
        item,
        owner,
        layout.interval_variable(),
        layout.console_variable(options),
    ]
    made = layout.new_dashboard(
        "item", "Starloop: item", "One item: level, forecast, orders and deliveries.", variables, "now-30d"
    )
    made.annotation(_annotation("Orders", "blue", f'SELECT "id" {ORDERED}', "id"))
    made.annotation(_annotation("Deliveries", "green", f'SELECT "id" {DELIVERED}', "id"))
    return layout.with_rows(
        made,
        ("Now", _numbers()),
        ("Over time", [_level(), _quantile_fan(), _orders_and_deliveries(), _device_readings(), _scores()]),
        _decision_log(),
    )


def _annotation(name: str, colour: str, query: str, column: str) -> AnnotationQuery:
    target = InfluxQuery(text=query, ref="Anno", annotation_column=column, table=True)
    return AnnotationQuery().name(name).datasource(SOURCE).enable(enable=True).icon_color(colour).target(target)


def _numbers() -> list[Panel]:
    def last(field: str) -> InfluxQuery:
        return table_query(f'SELECT last("{field}") FROM "forecast" WHERE {THIS}')

    nothing = "no forecast"
    return [
        stat_panel(
            "Level",
            "Latest estimate, in the unit of the item's capacity.",
            last("level"),
            "short",
            empty=nothing,
        ),
        stat_panel("Daily usage", "Moving average, in the unit of the capacity.", last("rate"), "short", empty=nothing),
        stat_panel(
            "Days to empty, 5 %",
            "From the latest forecast, without deliveries.",
            last("q05"),
            "d",
            steps=DAYS,
            empty=nothing,
        ),
        stat_panel(
            "Days to empty, 50 %",
            "From the latest forecast, without deliveries.",
            last("q50"),
            "d",
            steps=DAYS,
            empty=nothing,
        ),
        stat_panel(
            "Days to empty, 95 %", "From the latest forecast, without deliveries.", last("q95"), "d", empty=nothing
        ),
        stat_panel(
            "Trust",
            "Of the latest forecast, 0 to 1.",
            last("trust"),
            "percentunit",
            span=SIXTH,
            steps=TRUST,
            empty=nothing,
        ),
    ]


def _level() -> Panel:
    return time_series_panel(
        "Level",
        "Estimated level (mean per interval), in the unit of the capacity. Vertical lines mark orders (blue) and deliveries "
        "(green).",
        [series_query(f'SELECT mean("level") FROM "forecast" WHERE {THIS} GROUP BY {EVERY} fill(none)', "level")],
        "short",
        span=WHOLE,
    )


def _quantile_fan() -> Panel:
    columns = ", ".join(f'mean("{name}") AS "{title}"' for name, title in QUANTILES)
    panel = time_series_panel(
        "Days to empty",
        "Forecast as a fan chart: the bands are the 50 % and 90 % prediction intervals, the line is the median. Days from each "
        "forecast, without further deliveries (mean per interval).",
        [series_query(f'SELECT {columns} FROM "forecast" WHERE {THIS} GROUP BY {EVERY} fill(none)', "$col")],
        "d",
        span=WHOLE,
    )
    assert isinstance(panel, timeseries.Panel)
    for upper, lower, opacity in BANDS:
        band = {"custom.fillBelowTo": lower, "custom.fillOpacity": opacity, "custom.lineWidth": 0}
        panel.override_by_name(upper, [DynamicConfigValue(id_val=name, value=value) for name, value in band.items()])
    panel.override_by_name("5 %", [DynamicConfigValue(id_val="custom.lineWidth", value=0)])
    panel.override_by_name("50 %", [DynamicConfigValue(id_val="custom.lineWidth", value=2)])
    return panel


def _orders_and_deliveries() -> Panel:
    return time_series_panel(
        "Orders and deliveries",
        "Orders by quantity, in the unit of the capacity; reported deliveries and refills as points at zero.",
        [
            series_query(f'SELECT "quantity" {ORDERED}', "ordered"),
            series_query(f'SELECT "count" - 1 {DELIVERED}', "delivered or refilled", "B"),
        ],
        "short",
        points=True,
    )


def _device_readings() -> Panel:
    return time_series_panel(
        "Device readings",
        "Readings of the item's device, if its profile writes readings to InfluxDB (mean per interval), in the units of the "
        "device.",
        [
            series_query(
                f'SELECT mean("value") FROM "reading" WHERE $timeFilter AND "device" = \'$item_device\' '
                f'GROUP BY {EVERY}, "metric" fill(none)',
                "$tag_metric",
            )
        ],
        "short",
        low=None,
    )


def _scores() -> Panel:
    return time_series_panel(
        "Condition",
        "For scored parts: highest anomaly per interval (0 to 1), and whether there was an alert.",
        [
            series_query(
                f'SELECT max("anomaly") AS "anomaly", max("alert") AS "alert" FROM "score" WHERE {THIS} '
                f"GROUP BY {EVERY} fill(none)",
                "$col",
            )
        ],
        "percentunit",
        span=WHOLE,
        high=1.0,
    )


def _decision_log() -> tuple[str, list[Panel]]:
    decided = table_panel(
        "Decisions",
        "Decisions about the item and the first rule that refused an action, newest first; the id opens the receipt.",
        table_query(
            f'SELECT "verdict", "rule", "id", "count" FROM "decision" WHERE {THIS} ORDER BY time DESC LIMIT 200'
        ),
        reactions.DECISION_COLUMNS,
        span=HALF,
    )
    reacted = table_panel(
        "Reactions",
        "Reactions for the item, newest first; the id opens the receipt.",
        table_query(f'SELECT {reactions.REACTION_FIELDS} FROM "reaction" WHERE {THIS} ORDER BY time DESC LIMIT 200'),
        reactions.REACTION_COLUMNS,
        span=HALF,
    )
    coverage = stat_panel(
        "Coverage of the 90 % interval",
        "Share of the item's scored forecasts whose actual run-out fell between the 5 and 95 % quantiles; nominal: 0.90.",
        table_query(f'SELECT mean("in_90") FROM "honesty" WHERE {THIS}'),
        "percentunit",
        steps=((None, GOOD),),
        empty="none scored yet",
    )
    return "Reactions and decisions", [reacted, decided, coverage]
