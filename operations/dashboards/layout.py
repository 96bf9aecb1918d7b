"""Shared parts of the dashboards: identity, rows, variables, links between dashboards and to the console."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import barchart, dashboard, histogram, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from operations.dashboards.influx_query import SOURCE

TAG = "starloop"
DATASOURCE_UID = "starloop-influx"
"""Uid of the InfluxDB data source in the provisioning files."""
CONSOLE_URL = "http://localhost:8080"
INTERVALS = "1m,10m,1h,6h,1d,7d"
INTERVALS_SHOWN = 120
"""Number of automatic intervals in the time range: more show finer detail and make queries slower."""
INTERVAL_MIN = "1m"
RECEIPT_LINK = ("Receipt", "${console}/why/${__data.fields.id}")
"""Link from the id of a reaction or decision to its receipt. It needs the `id` column under its own name."""
ITEM_LINK = ("Item", "/d/starloop-item?var-item=${__value.raw}&${datasource:queryparam}&${__url_time_range}")
"""Link from the name of an item to its dashboard."""

Panel = timeseries.Panel | table.Panel | stat.Panel | histogram.Panel | barchart.Panel
Variable = Builder[model.VariableModel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the generated files. datasource_uid: InfluxDB in Grafana. console_url: address of the console for people."""

    datasource_uid: str = DATASOURCE_UID
    console_url: str = CONSOLE_URL


def new_dashboard(
    name: str, title: str, description: str, variables: Sequence[Variable], since: str
) -> dashboard.Dashboard:
    """An empty dashboard. name: uid after `starloop-`. since: start of the initial time range, which ends now."""
    made = dashboard.Dashboard(title).uid(f"starloop-{name}").description(description).tags([TAG]).time(since, "now")
    made.timezone("browser").refresh("1m").variables(list(variables)).tooltip(model.DashboardCursorSync.CROSSHAIR)
    others = dashboard.DashboardLink("Starloop").type(model.DashboardLinkType.DASHBOARDS).tags([TAG])
    return made.readonly().link(
        others.as_dropdown(as_dropdown=True).keep_time(keep_time=True).include_vars(include_vars=True)
    )


def with_rows(made: dashboard.Dashboard, *rows: tuple[str, Sequence[Panel]]) -> model.Dashboard:
    """Adds the panels, row by row under the row titles, and numbers them in that order."""
    for title, panels in rows:
        made.with_row(dashboard.Row(title))
        for panel in panels:
            made.with_panel(panel)
    built = made.build()
    for variable in (built.templating.list_val if built.templating else None) or []:
        if variable.type_val is not model.VariableType.INTERVAL:
            # The SDK writes the interval fields for every kind of variable, which Grafana's schema forbids.
            variable.auto = variable.auto_min = variable.auto_count = None
    for number, placed in enumerate(built.panels or [], 1):
        placed.id_val = number
    return built


def datasource_variable(options: Options) -> dashboard.DatasourceVariable:
    """Variable for the InfluxDB data source."""
    current = model.VariableOption(text=options.datasource_uid, value=options.datasource_uid, selected=True)
    variable = dashboard.DatasourceVariable("datasource").label("Data source").type("influxdb").current(current)
    return variable.description("The InfluxDB that Starloop writes to: a data source with query language InfluxQL.")


def choice_variable(name: str, label: str, query: str, *, everything: bool = True) -> dashboard.QueryVariable:
    """Variable with the values that the query returns. everything: offer "All" too, and select it."""
    variable = dashboard.QueryVariable(name).label(label).query(query).datasource(SOURCE)
    variable.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(model.VariableSort.ALPHABETICAL_ASC).multi(
        multi=False
    )
    if everything:
        variable.include_all(include_all=True).all_value(".*")
        variable.current(model.VariableOption(text="All", value="$__all", selected=True))
    return variable


def customer_variable(measurement: str) -> dashboard.QueryVariable:
    """Variable for one customer, or all."""
    return choice_variable("customer", "Customer", f'SHOW TAG VALUES FROM "{measurement}" WITH KEY = "customer"')


def device_variable(measurement: str) -> dashboard.QueryVariable:
    """Variable for one device of the customer, or all."""
    query = f'SHOW TAG VALUES FROM "{measurement}" WITH KEY = "device" WHERE "customer" =~ /^$customer$/'
    return choice_variable("device", "Device", query)


def interval_variable() -> dashboard.IntervalVariable:
    """Variable for the aggregation interval."""
    auto = model.VariableOption(text="auto", value="$__auto_interval_every", selected=True)
    variable = dashboard.IntervalVariable("every").label("Interval").values(INTERVALS).current(auto)
    return variable.auto(auto=True).step_count(INTERVALS_SHOWN).min_interval(INTERVAL_MIN)


def console_variable(options: Options) -> dashboard.TextBoxVariable:
    """Variable for the address of the console, used in links to receipts."""
    return text_variable("console", "Console", options.console_url.rstrip("/"))


def text_variable(name: str, label: str, value: str) -> dashboard.TextBoxVariable:
    """Variable with free text."""
    current = model.VariableOption(text=value, value=value, selected=True)
    return dashboard.TextBoxVariable(name).label(label).default_value(value).current(current).options([current])
