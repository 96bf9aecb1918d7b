"""Dashboard files: one JSON file per dashboard, and the Grafana provisioning files for dashboards and data sources.

    DIR/dashboards/*.json                    for any folder that a dashboard provider reads
    DIR/provisioning/dashboards/starloop.yaml
    DIR/provisioning/datasources/starloop.yaml

The provisioning files hold no address and no token: Grafana substitutes its environment variables when it starts.
"""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from operations.dashboards import calibration, fleet, item, money, reactions, service
from operations.dashboards.layout import Options
from star.errors import InputError

DASHBOARDS = {
    "fleet": fleet.dashboard,
    "item": item.dashboard,
    "reactions": reactions.dashboard,
    "service": service.dashboard,
    "honesty": calibration.dashboard,
    "money": money.dashboard,
}
"""Function that builds each dashboard, by file name."""
GRAFANA_FOLDER = "/etc/grafana/starloop/dashboards"
"""Folder of the JSON files on the Grafana machine or in its container."""

_PROVIDER = f"""\
# Folder on the Grafana machine with the JSON files: copy them there, or change the path.
apiVersion: 1
providers:
  - name: starloop
    orgId: 1
    folder: Starloop
    folderUid: starloop
    type: file
    disableDeletion: true
    allowUiUpdates: false
    updateIntervalSeconds: 60
    options:
      path: {GRAFANA_FOLDER}
"""

_SOURCES = """\
# InfluxDB 2 or 3, queried with InfluxQL, and (optional) Prometheus. Grafana substitutes these variables from its environment:
# STARLOOP_INFLUX_URL, STARLOOP_INFLUX_BUCKET, STARLOOP_INFLUX_TOKEN (read access is enough), STARLOOP_PROMETHEUS_URL.
apiVersion: 1
datasources:
  - name: Starloop
    uid: {uid}
    type: influxdb
    access: proxy
    url: ${{STARLOOP_INFLUX_URL}}
    jsonData:
      version: InfluxQL
      dbName: ${{STARLOOP_INFLUX_BUCKET}}
      httpMode: POST
      httpHeaderName1: Authorization
    secureJsonData:
      httpHeaderValue1: Token ${{STARLOOP_INFLUX_TOKEN}}
  - name: Starloop metrics
    uid: starloop-prometheus
    type: prometheus
    access: proxy
    url: ${{STARLOOP_PROMETHEUS_URL}}
    jsonData:
      httpMethod: POST
"""


def files(options: Options) -> dict[str, str]:
    """Text of every file, by path relative to the folder."""
    texts = {f"dashboards/{name}.json": _json(build(options)) for name, build in DASHBOARDS.items()}
    texts["provisioning/dashboards/starloop.yaml"] = _PROVIDER
    texts["provisioning/datasources/starloop.yaml"] = _SOURCES.format(uid=options.datasource_uid)
    return texts


def write(folder: Path, options: Options) -> list[Path]:
    """Writes the files, overwriting existing ones, and returns their paths. Raises InputError if the folder is not writable."""
    written = []
    for name, text in files(options).items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}: expected a writable folder") from error
        written.append(path)
    return written


def _json(dashboard: object) -> str:
    return json.dumps(dashboard, cls=JSONEncoder, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
