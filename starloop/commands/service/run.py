"""`starloop run …`: one role of the service by itself.

Here are the gate, in open mode for interoperability suites too, and the edge, at a site or at the centre's rim. What needs
nothing but the log and the store is in run_roles.py. `starloop up` runs all roles in one process.
"""

from __future__ import annotations

import asyncio
import ipaddress
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
from starloop.commands.service.run_roles import role_commands, role_module, run_role, wait_for_stop

if TYPE_CHECKING:
    from starloop.roles.broker_bridge import BrokerBridge
    from starloop.roles.context import RoleContext
    from starloop.roles.ingest_gateway import IngestGateway

PORT_DEFAULT = 1883
STOP_S = 5.0
"""How long a stop waits for each step."""
KEEP_ALIVE_MAX_S = 60
"""In open mode; interoperability suites look at how a server shortens what a client asks for."""


@click.group()
def command() -> None:
    """Runs one role of the service by itself."""


for role in role_commands():
    command.add_command(role)


@command.command()
@click.option(
    "--open", "is_open", is_flag=True, help="Any topic from any client to any subscriber; nothing is analysed."
)
@click.option("--host", help="The address to listen at. [STARLOOP_MQTT_HOST]")
@click.option("--port", "--mqtt-port", type=int, help="The port; 0 for a free one. [STARLOOP_MQTT_PORT]")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="A folder for sessions and retained messages that survive a restart. [STARLOOP_DATA_DIR]",
)
@click.option(
    "--credentials", type=click.Path(path_type=Path), help="A file of users; without it everyone may connect."
)
@click.option("--tls-cert", type=click.Path(path_type=Path), help="A certificate chain (PEM): MQTT over TLS.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its private key (PEM).")
@click.option("--insecure", is_flag=True, help="Allows an address other than loopback without credentials and TLS.")
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
    """The MQTT endpoint (3.1.1 and 5, QoS 0, 1 and 2): messages of devices into the log, reactions to them.

    With --open it is an endpoint for interoperability suites, and has neither log nor fleet.
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
    if not _loopback(host) and not insecure and not (credentials and tls_cert):
        raise UsageError(f"--host is {host!r}, not loopback: expected --credentials and --tls-cert, or --insecure")
    tls = _server_tls_context(tls_cert, tls_key)
    access = Authenticator(load_credentials(credentials) if credentials else None, lambda device: None)
    if data is not None:
        data.mkdir(parents=True, exist_ok=True)
    configure_logging("info", "auto")
    asyncio.run(_run_open_gate(host, port, data, access, tls))


async def _run_open_gate(
    host: str, port: int, data: Path | None, access: Authenticator, tls: ssl.SSLContext | None
) -> None:
    say = structlog.get_logger("gate").info
    store = None
    if data is not None:
        store = SqliteSessionStore(data / "gate.db", say)
    hub = Broker(time.time, store)
    if store is not None:
        hub.restore(*store.load(time.time()))
    server = BrokerServer(hub, access, say, Limits(keep_alive_max_s=KEEP_ALIVE_MAX_S))
    try:
        chosen = await server.start(host, port, tls)
    except OSError as error:
        raise InputError(
            f"port {port} at {host}: {error.strerror}: expected a free port (--port 0 takes one)"
        ) from error
    click.echo(f"starloop gate is ready: {'mqtts' if tls else 'mqtt'}://{_url_host(host)}:{chosen}")
    await wait_for_stop()
    await server.stop()
    if store is not None:
        await store.close()


@command.command()
@click.option("--uplink", help="The centre: mqtt://[user[:password]@]host[:port], or mqtts:// for TLS; else the log.")
@click.option("--data", type=click.Path(path_type=Path), help="A folder for what waits to be sent. [STARLOOP_DATA_DIR]")
@click.option("--name", default="edge", show_default=True, help="This site's name, by which brokers know it.")
@click.option("--broker", help="Hear a broker, instead of being the endpoint for devices.")
@click.option("--share", help="Without --uplink: the name of a shared subscription, for several that share the work.")
@click.option("--topic", "topics", multiple=True, help="A topic filter to hear there; may be given several times.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at, without --broker.")
@click.option("--port", "--mqtt-port", default=PORT_DEFAULT, show_default=True, help="The port; 0 for a free one.")
@click.option(
    "--outbox-mb", default=1024, show_default=True, help="Megabytes that may wait; then nothing is acknowledged."
)
@click.option(
    "--ca", type=click.Path(path_type=Path), help="Certificates (PEM) that mqtts:// trusts; else the system's."
)
@click.option("--insecure", is_flag=True, help="Allows an address other than loopback.")
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
    """A site's agent: devices' messages, kept on disk and brought to the centre when it can be reached.

    Without --uplink it is the centre's own way in and out of somebody's broker: what is heard there goes into the log, reactions
    go out there. With --share several of them share the work.

    Passwords may come from STARLOOP_UPLINK_PASSWORD and STARLOOP_BROKER_PASSWORD instead of the URLs.
    """
    if uplink is None:
        _run_broker_bridge(data, name, broker, share, topics, ca)
        return
    if data is None:
        raise UsageError("expected --data: a folder for what waits to be sent")
    if (broker is None) != (not topics):
        raise UsageError("expected --broker and --topic together")
    if broker is None and not _loopback(host) and not insecure:
        raise UsageError(
            f"--host is {host!r}, not loopback: expected --insecure, as devices at a site show no credentials"
        )
    tls = None if ca is None else _client_tls_context(ca)
    centre = parse_url(uplink, os.environ.get("STARLOOP_UPLINK_PASSWORD"))
    local = None if broker is None else parse_url(broker, os.environ.get("STARLOOP_BROKER_PASSWORD"))
    data.mkdir(parents=True, exist_ok=True)
    configure_logging("info", "auto")
    asyncio.run(_run_site_agent(centre, local, topics, (host, port), data, outbox_mb * 1024 * 1024, name, tls))


def _run_broker_bridge(
    data: Path | None, name: str, broker: str | None, share: str | None, topics: tuple[str, ...], ca: Path | None
) -> None:
    if broker is None:
        raise UsageError(
            "expected --uplink for a site's agent, or --broker for a broker whose messages go into the log"
        )
    url = parse_url(broker, os.environ.get("STARLOOP_BROKER_PASSWORD"))
    tls = None if ca is None else _client_tls_context(ca)
    parts = role_module()

    def make(context: RoleContext, gateway: IngestGateway) -> BrokerBridge:
        from starloop.roles.broker_bridge import TOPIC_FILTERS, BrokerBridge

        return BrokerBridge(context, gateway, url, topics or TOPIC_FILTERS, share=share or None, tls=tls)

    run_role("edge", parts.broker_bridge(make, url.shown()), data_dir=data, instance=None if name == "edge" else name)


async def _run_site_agent(
    centre: BrokerUrl,
    local: BrokerUrl | None,
    topics: tuple[str, ...],
    address: tuple[str, int],
    data: Path,
    outbox_bytes: int,
    name: str,
    tls: ssl.SSLContext | None,
) -> None:
    say = structlog.get_logger("edge").info
    disk = ThreadPoolExecutor(1, "outbox")
    outbox = Outbox(data / "outbox.db", outbox_bytes)
    uplink = Uplink(centre, outbox, disk, say, client_id=f"starloop-{name}-up", tls=tls)
    agent = SiteAgent(outbox, disk, uplink.wake, lambda: time.time_ns() // 1_000_000, say)
    running = [asyncio.create_task(agent.run()), asyncio.create_task(uplink.run())]
    store = SqliteSessionStore(data / "gate.db", say)
    hub = Broker(time.time, store)
    hub.restore(*store.load(time.time()))
    hub.ingest = agent
    server = BrokerServer(hub, Authenticator(None, lambda device: None), say)
    heard = None
    if local is not None:
        heard = Subscriber(local, topics, agent, say, client_id=f"starloop-{name}-down", tls=tls)
        heard.start()
        source = local.shown()
    else:
        source = f"mqtt://{_url_host(address[0])}:{await _listen(server, *address)}"
    click.echo(f"starloop edge is ready: {source} to {centre.shown()}")
    asked = asyncio.create_task(wait_for_stop())
    await asyncio.wait({asked, *running}, return_when=asyncio.FIRST_COMPLETED)
    await server.stop()
    if heard is not None:
        await heard.stop()
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
        raise InputError(
            f"port {port} at {host}: {error.strerror}: expected a free port (--port 0 takes one)"
        ) from error


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _client_tls_context(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"{ca}: {error}: expected certificates (PEM)") from error


def _server_tls_context(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"{cert}: {error}: expected a certificate chain and, with --tls-key, its key") from error
    return context
