"""Console role: web pages and HTTP API over the read model (from the log) and the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from console.app import create_app, create_console
from console.read_model import ReadModel
from console.server import serving, sign_in_link
from operations.observability.health import add_metrics, read_metrics_token
from runtime.data_dir import CONSOLE_FILE
from starloop.console_backend import ServiceBackend
from starloop.roles.context import RoleContext
from starloop.roles.ingest_gateway import IngestGateway


class ConsoleRole:
    """The console; `serve` opens its port."""

    def __init__(self, context: RoleContext, gateway: IngestGateway) -> None:
        self._context = context
        self.projection = ReadModel(context.folder / CONSOLE_FILE)
        self.console = create_console(ServiceBackend(context, gateway, self.projection), context.folder)
        context.fleet.on_change(lambda _: self.console.notifier.notify_all())

    def notify_changed(self, items: set[str]) -> None:
        """Notifies open pages of changed items."""
        known = self._context.fleet.current
        found = ((known.slots.get(item) or known.parts.get(item), item) for item in items)
        self.console.notifier.notify_items((one.customer, item) for one, item in found if one is not None)

    def app(self) -> FastAPI:
        """The web application, with /metrics."""
        settings = self._context.settings
        app = create_app(self.console, body_bytes_max=settings.payload_bytes_max)
        add_metrics(app, self._context.meters, read_metrics_token(settings.metrics_token_file))
        return app

    @asynccontextmanager
    async def serve(self, free_ports: bool = False) -> AsyncIterator[tuple[int, str]]:
        """Serves while the block runs, and yields the port and a one-time sign-in link."""
        settings = self._context.settings
        following = self._context.group.create_task(
            self.projection.follow(self._context.log, self.notify_changed), name="projection"
        )
        try:
            async with serving(
                self.app(),
                settings.http_host,
                settings.http_port,
                free_port=free_ports,
                tls_cert=settings.tls_cert,
                tls_key=settings.tls_key,
            ) as port:
                yield (
                    port,
                    sign_in_link(
                        settings.http_host,
                        port,
                        self.console.sessions.create_link(),
                        tls=settings.tls_cert is not None,
                        public_url=settings.public_url,
                    ),
                )
        finally:
            following.cancel()
            self.projection.close()
