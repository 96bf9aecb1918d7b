"""The files of `starloop dashboards`: what is in them, that they are what deploy/ holds, and that they fit Grafana's schema."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from operations.dashboards.files import DASHBOARDS, GRAFANA_FOLDER, files
from operations.dashboards.layout import Options
from star.errors import UsageError
from starloop.cli import cli
from tests.support.grafana_queries import dashboards, panels
from tests.support.server_process import absent
from tests.support.servers import VERSIONS, servers_folder

ROOT = Path(__file__).parents[3]
EVERY = [(name, panel) for name, dashboard in dashboards().items() for panel in panels(dashboard)]
CASES = pytest.mark.parametrize(("name", "panel"), EVERY, ids=[f"{name}: {panel['title']}" for name, panel in EVERY])
UNITLESS = {"table"}
"""Kinds of panels whose columns have units of their own."""


@pytest.fixture(scope="module")
def shapes() -> dict[str, Any]:
    """A JSON schema for a whole dashboard and for each kind of panel, made from Grafana's own types."""
    version = VERSIONS["GRAFANA_SCHEMA_VERSION"]
    path = servers_folder() / f"grafana-schema-{version}" / "schema.json"
    if not path.is_file():
        absent(f"the schema of Grafana's dashboards {version} is not at {path}: make servers")
    found: dict[str, Any] = json.loads(path.read_text())["definitions"]["Shapes"]["properties"]
    return found


def errors(schema: dict[str, Any], value: object) -> list[str]:
    """What of the value does not fit the schema."""
    found = jsonschema.Draft7Validator(schema).iter_errors(value)
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in found]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_fits_the_schema_made_from_grafanas_types(shapes: dict[str, Any], name: str) -> None:
    """Every field of the JSON is one that Grafana's types have, of the type that they have."""
    assert errors(shapes["dashboard"], dashboards()[name]) == []


@CASES
def test_a_panels_options_fit_the_schema_of_its_kind(shapes: dict[str, Any], name: str, panel: dict[str, Any]) -> None:
    """A panel's options, and the fields of its kind, are those that its plug-in's types have."""
    kind = shapes[panel["type"]]["properties"]
    assert errors(kind["options"], panel["options"]) == []
    custom = panel["fieldConfig"]["defaults"].get("custom")
    if custom is not None:
        assert errors(kind["custom"], custom) == []


def test_the_schema_finds_a_mistake_in_a_dashboard(shapes: dict[str, Any]) -> None:
    """An unknown field, a wrong type and an unknown word are refused, so that fitting says something."""
    for change in ({"colour": "red"}, {"title": 3}, {"graphTooltip": "always"}):
        assert errors(shapes["dashboard"], dashboards()["fleet"] | change)


@CASES
def test_a_panel_says_what_it_shows_and_in_which_unit(name: str, panel: dict[str, Any]) -> None:
    """A title, a description of a sentence or more, and a unit; every query is of the chosen data source."""
    assert panel["title"]
    assert panel["description"].rstrip().endswith(".")
    assert panel["type"] in UNITLESS or panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        assert target["datasource"] == {"type": "influxdb", "uid": "${datasource}"}
        assert target["rawQuery"] is True


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_uses_the_variables_that_it_has(name: str) -> None:
    """Every `$name` in a query is a variable of the dashboard or a macro, and the first variable is the data source."""
    dashboard = dashboards()[name]
    variables = [variable["name"] for variable in dashboard["templating"]["list"]]
    assert variables[0] == "datasource"
    macros = {"timeFilter", "__range_s"}
    for panel in panels(dashboard):
        for target in panel["targets"]:
            used = set(re.findall(r"\$(\w+)", target["query"]))
            assert used <= macros | set(variables), target["query"]


def test_names_and_numbers_are_fixed_and_taken_once() -> None:
    """Each dashboard has the uid of its name, and each panel of a dashboard a number of its own."""
    for name, dashboard in dashboards().items():
        assert dashboard["uid"] == f"starloop-{name}"
        numbers = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(numbers)) == len(numbers)
        assert "id" not in dashboard


def test_a_reaction_links_to_its_receipt_in_the_console() -> None:
    """Tables of reactions and decisions link their ids to /why/ of the console that the option names."""
    named = dashboards(Options(console_url="https://starloop.example/"))
    linked = 0
    for name in ("reactions", "item"):
        (console,) = [one for one in named[name]["templating"]["list"] if one["name"] == "console"]
        assert console["query"] == "https://starloop.example"
        for panel in panels(named[name]):
            for override in panel["fieldConfig"]["overrides"]:
                if override["matcher"]["options"] == "id":
                    (links,) = [one["value"] for one in override["properties"] if one["id"] == "links"]
                    assert links[0]["url"] == "${console}/why/${__data.fields.id}"
                    linked += 1
    assert linked == 4


def test_deploy_holds_what_the_command_writes(tmp_path: Path) -> None:
    """deploy/grafana is the command's output, byte for byte; written twice it is the same."""
    for _ in range(2):
        done = CliRunner().invoke(cli, ["dashboards", str(tmp_path), "--json"])
        assert done.exit_code == 0, done.output
    written = [Path(path) for path in json.loads(done.output)]
    assert len(written) == len(files(Options())) == len(DASHBOARDS) + 2
    for path in written:
        assert path.read_bytes() == (ROOT / "deploy" / "grafana" / path.relative_to(tmp_path)).read_bytes(), (
            f"{path.name} is not as in deploy/grafana: starloop dashboards deploy/grafana"
        )


def test_the_provisioning_files_hold_no_secret_and_one_uid() -> None:
    """They are YAML; address and token come from the environment, and the data source has the uid that dashboards ask for."""
    texts = files(Options(datasource_uid="mine"))
    (influx, prometheus) = yaml.safe_load(texts["provisioning/datasources/starloop.yaml"])["datasources"]
    assert influx["uid"] == "mine"
    assert influx["url"] == "${STARLOOP_INFLUX_URL}"
    assert influx["secureJsonData"] == {"httpHeaderValue1": "Token ${STARLOOP_INFLUX_TOKEN}"}
    assert prometheus["url"] == "${STARLOOP_PROMETHEUS_URL}"
    (provider,) = yaml.safe_load(texts["provisioning/dashboards/starloop.yaml"])["providers"]
    assert provider["options"]["path"] == GRAFANA_FOLDER
    source = dashboards(Options(datasource_uid="mine"))["fleet"]["templating"]["list"][0]
    assert source["current"]["value"] == "mine"


@pytest.mark.parametrize("option", [("--datasource-uid", "a b"), ("--console-url", "starloop.example")])
def test_a_wrong_option_is_named_with_what_was_expected(tmp_path: Path, option: tuple[str, str]) -> None:
    """Nothing is written."""
    done = CliRunner().invoke(cli, ["dashboards", str(tmp_path), *option])
    assert isinstance(done.exception, UsageError)
    assert f"{option[0]} is {option[1]!r}: expected" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """One line, with the path."""
    (tmp_path / "dashboards").write_text("in the way")
    done = CliRunner().invoke(cli, ["dashboards", str(tmp_path)])
    assert done.exit_code != 0
    assert "expected a writable folder" in str(done.exception)
