"""What all dashboards have in common: their names and places, their variables, the links between them and to the console."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import barchart, dashboard, histogram, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from operations.dashboards.influx_query import SOURCE

TAG = "starloop"
DATASOURCE_UID = "starloop-influx"
"""Of InfluxDB, as the provisioning files have it."""
CONSOLE_URL = "http://localhost:8080"
INTERVALS = "1m,10m,1h,6h,1d,7d"
INTERVALS_SHOWN = 120
"""An automatic interval is the time shown divided by so many."""
INTERVAL_MIN = "1m"
RECEIPT_LINK = ("Receipt", "${console}/why/${__data.fields.id}")
"""The link of a reaction's or a decision's id to its receipt. Its `id` is a column that keeps its name."""
ITEM_LINK = ("Item", "/d/starloop-item?var-item=${__value.raw}&${datasource:queryparam}&${__url_time_range}")
"""The link of an item's name to its dashboard."""

Panel = timeseries.Panel | table.Panel | stat.Panel | histogram.Panel | barchart.Panel
Variable = Builder[model.VariableModel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """datasource_uid: of InfluxDB in Grafana. console_url: where people open the console."""

    datasource_uid: str = DATASOURCE_UID
    console_url: str = CONSOLE_URL


def new_dashboard(
    name: str, title: str, description: str, variables: Sequence[Variable], since: str
) -> dashboard.Dashboard:
    """A dashboard without panels. name: its uid behind `starloop-`. since: the time shown at first, to now."""
    made = dashboard.Dashboard(title).uid(f"starloop-{name}").description(description).tags([TAG]).time(since, "now")
    made.timezone("browser").refresh("1m").variables(list(variables)).tooltip(model.DashboardCursorSync.CROSSHAIR)
    others = dashboard.DashboardLink("Starloop").type(model.DashboardLinkType.DASHBOARDS).tags([TAG])
    return made.readonly().link(
        others.as_dropdown(as_dropdown=True).keep_time(keep_time=True).include_vars(include_vars=True)
    )


def with_rows(made: dashboard.Dashboard, *rows: tuple[str, Sequence[Panel]]) -> model.Dashboard:
    """The dashboard with its panels, row by row, each row with its heading; numbered in that order."""
    for title, panels in rows:
        made.with_row(dashboard.Row(title))
        for panel in panels:
            made.with_panel(panel)
    built = made.build()
    for variable in (built.templating.list_val if built.templating else None) or []:
        if variable.type_val is not model.VariableType.INTERVAL:
            # The SDK writes what belongs to intervals for every kind of variable, which Grafana's schema forbids.
            variable.auto = variable.auto_min = variable.auto_count = None
    for number, placed in enumerate(built.panels or [], 1):
        placed.id_val = number
    return built


def datasource_variable(options: Options) -> dashboard.DatasourceVariable:
    """Which InfluxDB."""
    current = model.VariableOption(text=options.datasource_uid, value=options.datasource_uid, selected=True)
    variable = dashboard.DatasourceVariable("datasource").label("Data source").type("influxdb").current(current)
    return variable.description("The InfluxDB that Starloop writes to, as a data source of the kind InfluxQL.")


def choice_variable(name: str, label: str, query: str, *, everything: bool = True) -> dashboard.QueryVariable:
    """One of the values that the query finds, or (everything) all of them."""
    variable = dashboard.QueryVariable(name).label(label).query(query).datasource(SOURCE)
    variable.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(model.VariableSort.ALPHABETICAL_ASC).multi(
        multi=False
    )
    if everything:
        variable.include_all(include_all=True).all_value(".*")
        variable.current(model.VariableOption(text="All", value="$__all", selected=True))
    return variable


def customer_variable(measurement: str) -> dashboard.QueryVariable:
    """Whose: one customer, or all."""
    return choice_variable("customer", "Customer", f'SHOW TAG VALUES FROM "{measurement}" WITH KEY = "customer"')


def device_variable(measurement: str) -> dashboard.QueryVariable:
    """Which device of the customer, or all."""
    query = f'SHOW TAG VALUES FROM "{measurement}" WITH KEY = "device" WHERE "customer" =~ /^$customer$/'
    return choice_variable("device", "Device", query)


def interval_variable() -> dashboard.IntervalVariable:
    """Over how long values are gathered."""
    auto = model.VariableOption(text="auto", value="$__auto_interval_every", selected=True)
    variable = dashboard.IntervalVariable("every").label("Interval").values(INTERVALS).current(auto)
    return variable.auto(auto=True).step_count(INTERVALS_SHOWN).min_interval(INTERVAL_MIN)


def console_variable(options: Options) -> dashboard.TextBoxVariable:
    """Where the console is, for links to receipts."""
    return text_variable("console", "Console", options.console_url.rstrip("/"))


def text_variable(name: str, label: str, value: str) -> dashboard.TextBoxVariable:
    """A text that people can change."""
    current = model.VariableOption(text=value, value=value, selected=True)
    return dashboard.TextBoxVariable(name).label(label).default_value(value).current(current).options([current])
