"""One item: its level and forecast over time, its readings, what was ordered and what came."""

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
"""Bands of the fan: from which line down to which, how opaque (percent)."""
ORDERED = f'FROM "reaction" WHERE {THIS} AND "type" = \'starloop.order.requested\''
DELIVERED = f'FROM "outcome" WHERE {THIS} AND ("result" = \'delivered\' OR "result" = \'refilled\')'


def dashboard(options: Options) -> Dashboard:
    """The dashboard of one item."""
    of_customer = 'WHERE "customer" =~ /^$customer$/'
    item = layout.choice_variable(
        "item", "Item", f'SHOW TAG VALUES FROM /^(forecast|score)$/ WITH KEY = "item" {of_customer}', everything=False
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
            "Estimated at the last look, in the unit of the item's capacity.",
            last("level"),
            "short",
            empty=nothing,
        ),
        stat_panel("Use a day", "Moving mean, in the unit of the capacity.", last("rate"), "short", empty=nothing),
        stat_panel(
            "Days to empty, 5 %", "From the last look, without a delivery.", last("q05"), "d", steps=DAYS, empty=nothing
        ),
        stat_panel(
            "Days to empty, 50 %",
            "From the last look, without a delivery.",
            last("q50"),
            "d",
            steps=DAYS,
            empty=nothing,
        ),
        stat_panel("Days to empty, 95 %", "From the last look, without a delivery.", last("q95"), "d", empty=nothing),
        stat_panel(
            "Trust",
            "Of the last forecast, 0 to 1.",
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
        "The level estimated at each look (mean of the interval), in the unit of the capacity. Vertical lines are orders (blue) "
        "and deliveries (green).",
        [series_query(f'SELECT mean("level") FROM "forecast" WHERE {THIS} GROUP BY {EVERY} fill(none)', "level")],
        "short",
        span=WHOLE,
    )


def _quantile_fan() -> Panel:
    columns = ", ".join(f'mean("{name}") AS "{title}"' for name, title in QUANTILES)
    panel = time_series_panel(
        "Days to empty",
        "The forecast as a fan: the bands hold 50 % and 90 % of what may come, the line is the median; days from each look, "
        "without any further delivery (mean of the interval).",
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
        "Each order at its quantity, in the unit of the capacity; each delivery or refill that was told, as a point at nought.",
        [
            series_query(f'SELECT "quantity" {ORDERED}', "ordered"),
            series_query(f'SELECT "count" - 1 {DELIVERED}', "delivered or refilled", "B"),
        ],
        "short",
        points=True,
    )


def _device_readings() -> Panel:
    return time_series_panel(
        "Readings of its device",
        "What the item's device sent, as far as its profile has readings written to InfluxDB (mean of the interval), in the "
        "device's own units.",
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
        "Of a part that is scored: the highest anomaly of the interval, 0 to 1, and whether there was an alert.",
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
        "What was decided",
        "Each decision about the item and the first rule that refused something, the newest first; the id opens the receipt.",
        table_query(
            f'SELECT "verdict", "rule", "id", "count" FROM "decision" WHERE {THIS} ORDER BY time DESC LIMIT 200'
        ),
        reactions.DECISION_COLUMNS,
        span=HALF,
    )
    reacted = table_panel(
        "What was done",
        "The item's reactions, the newest first; the id opens the receipt.",
        table_query(f'SELECT {reactions.REACTION_FIELDS} FROM "reaction" WHERE {THIS} ORDER BY time DESC LIMIT 200'),
        reactions.REACTION_COLUMNS,
        span=HALF,
    )
    honest = stat_panel(
        "Within the 90 % band",
        "Share of the item's judged forecasts whose truth fell between their 5 and 95 % quantiles; 0.90 is promised.",
        table_query(f'SELECT mean("in_90") FROM "honesty" WHERE {THIS}'),
        "percentunit",
        steps=((None, GOOD),),
        empty="none judged yet",
    )
    return "What was done", [reacted, decided, honest]
