"""The console: the pages and the HTTP API over what the log tells and the store knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from console.app import create_app, create_console
from console.server import link, serving
from console.views import Projection
from starloop.backend import ServiceBackend
from starloop.data_dir import CONSOLE
from starloop.roles.base import Base
from starloop.roles.door import Door
from starloop.watching.health import add_metrics, read_token


class ConsolePart:
    """The console over a door; `serving` opens it."""

    def __init__(self, base: Base, door: Door) -> None:
        self._base = base
        self.projection = Projection(base.folder / CONSOLE)
        self.console = create_console(ServiceBackend(base, door, self.projection), base.folder)
        base.fleet.on_change(lambda _: self.console.hub.everything_changed())

    def say_changed(self, items: set[str]) -> None:
        """Tells the pages which items have news."""
        known = self._base.fleet.current
        found = ((known.slots.get(item) or known.parts.get(item), item) for item in items)
        self.console.hub.changed((one.customer, item) for one, item in found if one is not None)

    def app(self) -> FastAPI:
        """The application, with /metrics."""
        settings = self._base.settings
        app = create_app(self.console, body_bytes_max=settings.payload_bytes_max)
        add_metrics(app, self._base.meters, read_token(settings.metrics_token_file))
        return app

    @asynccontextmanager
    async def serving(self, free_ports: bool = False) -> AsyncIterator[tuple[int, str]]:
        """Serves while the block runs; gives the port and a link that signs its holder in, once."""
        settings = self._base.settings
        following = self._base.group.create_task(
            self.projection.follow(self._base.log, self.say_changed), name="projection"
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
                    link(
                        settings.http_host,
                        port,
                        self.console.sessions.new_link(),
                        tls=settings.tls_cert is not None,
                        public_url=settings.public_url,
                    ),
                )
        finally:
            following.cancel()
            self.projection.close()
