"""`starloop run ROLE`: one role of the service in a process of its own.

This module has the gate, also in open mode for interoperability tests, and the edge, as site agent or broker bridge. Roles that need
only the log and the store are in run_roles.py. `starloop up` runs all roles in one process.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click
import structlog

from edge.mqtt_broker.authorization import Authenticator, load_credentials
from edge.mqtt_broker.broker import Broker
from edge.mqtt_broker.server import BrokerServer, Limits
from edge.mqtt_broker.session_store import SqliteSessionStore
from edge.mqtt_client import BrokerUrl, Subscriber, Uplink, parse_url
from edge.outbox import Outbox
from edge.site_agent import SiteAgent
from operations.observability.logging import configure_logging
from star.errors import InputError, UsageError
from starloop.commands.service.run_roles import role_commands, role_module, run_role
from starloop.endpoint_security import is_loopback, server_tls_context
from starloop.stop_signals import wait_for_stop

if TYPE_CHECKING:
    from starloop.roles.broker_bridge import BrokerBridge
    from starloop.roles.context import RoleContext
    from starloop.roles.ingest_gateway import IngestGateway

PORT_DEFAULT = 1883
STOP_S = 5.0
"""Timeout of each shutdown step, in seconds."""
KEEP_ALIVE_MAX_S = 60
"""Keep-alive limit in open mode, in seconds: interoperability tests check that a server can shorten a client's value."""


@click.group()
def command() -> None:
    """Run one role of the service."""


for role in role_commands():
    command.add_command(role)


@command.command()
@click.option("--open", "is_open", is_flag=True, help="Relay any topic between any clients; no analysis.")
@click.option("--host", help="Address to listen on.  [default: STARLOOP_MQTT_HOST]")
@click.option("--port", "--mqtt-port", type=int, help="Port; 0 for any free port.  [default: STARLOOP_MQTT_PORT]")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder for persistent sessions and retained messages.  [default: STARLOOP_DATA_DIR]",
)
@click.option(
    "--credentials", type=click.Path(path_type=Path), help="Credentials file; without it, any client can connect."
)
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain (PEM), for MQTT over TLS.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Private key (PEM).")
@click.option("--insecure", is_flag=True, help="Allow other addresses than loopback without credentials and TLS.")
def gate(
    is_open: bool,
    host: str | None,
    port: int | None,
    data: Path | None,
    credentials: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    insecure: bool,
) -> None:
    """Run the MQTT endpoint (3.1.1 and 5; QoS 0, 1 and 2): device messages into the log, reactions to devices.

    With --open it is a broker for interoperability tests, without log and fleet.
    """
    if not is_open:
        run_role(
            "gate",
            role_module().gate,
            mqtt_host=host,
            mqtt_port=port,
            data_dir=data,
            mqtt_credentials=credentials,
            tls_cert=tls_cert,
            tls_key=tls_key,
            insecure=insecure or None,
        )
        return
    host = host or "127.0.0.1"
    port = PORT_DEFAULT if port is None else port
    if not is_loopback(host) and not insecure and not (credentials and tls_cert):
        raise UsageError(f"--host is {host!r}, not loopback: expected --credentials and --tls-cert, or --insecure")
    tls = server_tls_context(tls_cert, tls_key)
    access = Authenticator(load_credentials(credentials) if credentials else None, lambda device: None)
    if data is not None:
        data.mkdir(parents=True, exist_ok=True)
    configure_logging("info", "auto")
    asyncio.run(_run_open_gate(host, port, data, access, tls))


async def _run_open_gate(
    host: str, port: int, data: Path | None, access: Authenticator, tls: ssl.SSLContext | None
) -> None:
    log_event = structlog.get_logger("gate").info
    store = None
    if data is not None:
        store = SqliteSessionStore(data / "gate.db", log_event)
    broker = Broker(time.time, store)
    if store is not None:
        broker.restore(*store.load(time.time()))
    server = BrokerServer(broker, access, log_event, Limits(keep_alive_max_s=KEEP_ALIVE_MAX_S))
    bound_port = await _listen(server, host, port, tls)
    click.echo(f"starloop gate is ready: {'mqtts' if tls else 'mqtt'}://{_url_host(host)}:{bound_port}")
    await wait_for_stop()
    await server.stop()
    if store is not None:
        await store.close()


@command.command()
@click.option("--uplink", help="Central broker: mqtt[s]://[user[:password]@]host[:port].  [default: the log]")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder for unsent messages.  [default: STARLOOP_DATA_DIR]"
)
@click.option("--name", default="edge", show_default=True, help="Site name, used in MQTT client ids.")
@click.option("--broker", help="Subscribe at this broker, instead of being the endpoint for devices.")
@click.option("--share", help="Without --uplink: shared subscription for several bridges.")
@click.option("--topic", "topics", multiple=True, help="Topic filter to subscribe to; repeatable.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on, without --broker.")
@click.option("--port", "--mqtt-port", default=PORT_DEFAULT, show_default=True, help="Port; 0 for any free port.")
@click.option(
    "--outbox-mb",
    default=1024,
    show_default=True,
    help="Limit of unsent messages in MB; above it nothing is acknowledged.",
)
@click.option("--ca", type=click.Path(path_type=Path), help="CA certificates (PEM) for mqtts://.  [default: system]")
@click.option("--insecure", is_flag=True, help="Allow other addresses than loopback.")
def edge(
    uplink: str | None,
    data: Path | None,
    name: str,
    broker: str | None,
    share: str | None,
    topics: tuple[str, ...],
    host: str,
    port: int,
    outbox_mb: int,
    ca: Path | None,
    insecure: bool,
) -> None:
    """Run a site agent, which stores device messages on disk and forwards them when the central broker is reachable.

    Without --uplink it is a bridge to an external broker: messages from --broker go to the log, and reactions are published there.
    Several bridges can share the messages with --share.

    Passwords can be set with STARLOOP_UPLINK_PASSWORD and STARLOOP_BROKER_PASSWORD instead of in the URLs.
    """
    if uplink is None:
        _run_broker_bridge(data, name, broker, share, topics, ca)
        return
    if data is None:
        raise UsageError("expected --data: a folder for unsent messages")
    if (broker is None) != (not topics):
        raise UsageError("expected --broker and --topic together")
    if broker is None and not is_loopback(host) and not insecure:
        raise UsageError(
            f"--host is {host!r}, not loopback: expected --insecure, as devices at a site have no credentials"
        )
    tls = None if ca is None else _client_tls_context(ca)
    central = parse_url(uplink, os.environ.get("STARLOOP_UPLINK_PASSWORD"))
    local = None if broker is None else parse_url(broker, os.environ.get("STARLOOP_BROKER_PASSWORD"))
    data.mkdir(parents=True, exist_ok=True)
    configure_logging("info", "auto")
    asyncio.run(_run_site_agent(central, local, topics, (host, port), data, outbox_mb * 1024 * 1024, name, tls))


def _run_broker_bridge(
    data: Path | None, name: str, broker: str | None, share: str | None, topics: tuple[str, ...], ca: Path | None
) -> None:
    if broker is None:
        raise UsageError("expected --uplink for a site agent, or --broker for a bridge to the log")
    url = parse_url(broker, os.environ.get("STARLOOP_BROKER_PASSWORD"))
    tls = None if ca is None else _client_tls_context(ca)
    parts = role_module()

    def make(context: RoleContext, gateway: IngestGateway) -> BrokerBridge:
        from starloop.roles.broker_bridge import TOPIC_FILTERS, BrokerBridge

        return BrokerBridge(context, gateway, url, topics or TOPIC_FILTERS, share=share or None, tls=tls)

    run_role("edge", parts.broker_bridge(make, url.shown()), data_dir=data, instance=None if name == "edge" else name)


async def _run_site_agent(
    central: BrokerUrl,
    local: BrokerUrl | None,
    topics: tuple[str, ...],
    address: tuple[str, int],
    data: Path,
    outbox_bytes: int,
    name: str,
    tls: ssl.SSLContext | None,
) -> None:
    log_event = structlog.get_logger("edge").info
    disk = ThreadPoolExecutor(1, "outbox")
    outbox = Outbox(data / "outbox.db", outbox_bytes)
    uplink = Uplink(central, outbox, disk, log_event, client_id=f"starloop-{name}-up", tls=tls)
    agent = SiteAgent(outbox, disk, uplink.wake, lambda: time.time_ns() // 1_000_000, log_event)
    running = [asyncio.create_task(agent.run()), asyncio.create_task(uplink.run())]
    store = SqliteSessionStore(data / "gate.db", log_event)
    broker = Broker(time.time, store)
    broker.restore(*store.load(time.time()))
    broker.ingest = agent
    server = BrokerServer(broker, Authenticator(None, lambda device: None), log_event)
    subscriber = None
    if local is not None:
        subscriber = Subscriber(local, topics, agent, log_event, client_id=f"starloop-{name}-down", tls=tls)
        subscriber.start()
        source = local.shown()
    else:
        source = f"mqtt://{_url_host(address[0])}:{await _listen(server, *address)}"
    click.echo(f"starloop edge is ready: {source} to {central.shown()}")
    stop = asyncio.create_task(wait_for_stop())
    await asyncio.wait({stop, *running}, return_when=asyncio.FIRST_COMPLETED)
    await server.stop()
    if subscriber is not None:
        await subscriber.stop()
    agent.stop()
    await asyncio.wait(running[:1], timeout=STOP_S)
    await uplink.stop()
    await store.close()
    await asyncio.wait(running, timeout=STOP_S)
    for task in running:
        task.cancel()
    for task in running:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error
    disk.shutdown()
    outbox.close()


async def _listen(server: BrokerServer, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
    try:
        return await server.start(host, port, tls)
    except OSError as error:
        raise InputError(f"port {port} at {host}: {error.strerror}: expected a free port (--port 0 for any)") from error


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _client_tls_context(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"{ca}: {error}: expected certificates (PEM)") from error
