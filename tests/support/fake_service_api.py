"""Fake HTTP API of a running service, for commands that query it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from console.api.queries import forecast_row
from runtime.data_dir import SERVICE_FILE
from star.analyse import Forecast
from stream.transports.embedded_log.directory_lock import DirectoryLock

OIL_ROW = {
    "item": "tank-7/oil",
    "unit": "L",
    "forecast": forecast_row(
        Forecast(
            item="tank-7/oil",
            at_ms=1_764_000_000_000,
            level=812.5,
            days=(3.0, 3.6, 4.2, 5.1, 6.0, 7.2, 8.4, 9.6, 12.0),
            rate_per_day=12.0,
            trust=0.93,
            model="run-out@1:abc",
            readings=40,
            reading_ms=1_763_999_940_000,
            reading=812.5,
        )
    ),
}
SALT_ROW = {"item": "x/salt", "unit": "kg", "forecast": None}


class _ItemsApi(BaseHTTPRequestHandler):
    """Items API with two items, one per page."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        after = query.partition("after=")[2]
        page = {"items": [SALT_ROW if after else OIL_ROW], "next": None if after else "tank-7/oil"}
        known = {"/api/v1/items": page, "/api/v1/items/tank-7/oil": {**OIL_ROW, "history": []}}
        status = 401 if self.headers["authorization"] != "Bearer local" else 200 if path in known else 404
        body = json.dumps(known[path] if status == 200 else {"detail": "no such item"}).encode()
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Writes no request log."""


@contextmanager
def running_service(folder: Path, token: str = "local") -> Iterator[None]:
    """A service that owns the directory and responds on loopback, while the block runs."""
    server = HTTPServer(("127.0.0.1", 0), _ItemsApi)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    lock = DirectoryLock(folder)
    fields = {"pid": os.getpid(), "mqtt_port": 1883, "http_port": server.server_port, "token": token}
    (folder / SERVICE_FILE).write_text(json.dumps(fields))
    try:
        yield
    finally:
        lock.release()
        server.shutdown()
        thread.join()
        server.server_close()
