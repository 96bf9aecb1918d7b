"""The broker's sockets: TCP and TLS, timeouts, limits, joined writes, and back-pressure while the log is behind.

The protocol is connection.py's. One event loop; passwords are verified in a thread of their own.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from edge.mqtt_broker.authorization import Authenticator, Principal
from edge.mqtt_broker.broker import Broker, make_message
from edge.mqtt_broker.connection import Connection
from edge.mqtt_broker.limits import Limits
from edge.mqtt_broker.protocol.packets import Connect, Properties, ReasonCode

__all__ = ["BrokerServer", "Limits"]

SWEEP_S = 0.5
"""Interval of the checks for timeouts, wills and expired sessions."""
CLOSE_LINGER_S = 2.0
"""How long a connection that the broker ends is still read from, and the data discarded: closing a socket with unread data
resets it, and the client would not receive the DISCONNECT."""
AUTHENTICATING_MAX = 500
"""Most passwords waiting for verification; further clients are refused."""
STOP_S = 10.0
"""How long a stop waits for offered messages to be stored, and half as long for clients to read what was sent."""


class BrokerServer:
    """The server of a Broker. log_event: logs an event."""

    def __init__(
        self, broker: Broker, authenticator: Authenticator, log_event: Callable[..., None], limits: Limits | None = None
    ) -> None:
        self.broker = broker
        self.limits = broker.limits = limits or broker.limits
        self.refused = 0
        self._authenticator = authenticator
        self._log_event = log_event
        self._clients: set[_Client] = set()
        self._servers: list[asyncio.Server] = []
        self._password_thread = ThreadPoolExecutor(1, "gate-passwords")
        self._authenticating = 0
        self._sweep_task: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listens on another address; returns the port, which the system chooses for 0. Raises OSError."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Client(self), host, port, ssl=tls, backlog=1024)
        self._servers.append(server)
        if self._sweep_task is None:
            self._sweep_task = loop.create_task(self._sweep_forever())
        chosen: int = server.sockets[0].getsockname()[1]
        return chosen

    async def stop(self) -> None:
        """Stops reading, waits until offered messages are stored, disconnects the clients and closes."""
        for server in self._servers:
            server.close()
        for client in self._clients:
            client.pause_reading()
        done = asyncio.Event()
        if self.broker.ingest is not None:
            self.broker.ingest.offer([], lambda: self.broker.store.after_commit(done.set))
        else:
            self.broker.store.after_commit(done.set)
        await _wait_at_most(done.wait(), STOP_S)
        for client in list(self._clients):
            client.connection.fail(ReasonCode.SERVER_SHUTTING_DOWN, "the server stops")
        await _wait_at_most(self._wait_until_empty(), STOP_S / 2)
        for client in list(self._clients):
            client.abort()
        if self._sweep_task is not None:
            self._sweep_task.cancel()
        self._password_thread.shutdown(wait=False, cancel_futures=True)

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, properties: Properties | None = None
    ) -> int:
        """Publishes a message of the service; returns the number of sessions that it went to.

        On return the retained message and the queues of persistent sessions are on disk.
        """
        count = self.broker.publish(make_message(topic, payload, qos, retain, properties, self.broker.clock()))
        stored = asyncio.get_running_loop().create_future()
        self.broker.store.after_commit(lambda: None if stored.done() else stored.set_result(None))
        await stored
        return count

    def reauthorize_all(self) -> None:
        """Evaluates the permissions of every client again, after a change of the fleet."""
        for client in self._clients:
            client.connection.reauthorize()

    def connections(self) -> int:
        """Number of connections."""
        return len(self._clients)

    def register(self, client: _Client) -> bool:
        """Adds a new connection; False where there are too many."""
        if len(self._clients) >= self.limits.connections_max:
            self.refused += 1
            self._log_event("connection_refused", connections=len(self._clients), peer=client.peer)
            return False
        self._clients.add(client)
        return True

    def unregister(self, client: _Client) -> None:
        """Removes a closed connection."""
        self._clients.discard(client)
        if not self._clients:
            self._empty.set()

    def connection_for(self, client: _Client) -> Connection:
        """The state machine of a new connection."""
        return Connection(self.broker, client, self._authenticate, self._log_event)

    def _authenticate(self, packet: Connect, done: Callable[[Principal | None], None]) -> None:
        principal = self._authenticator.authenticate_cached(packet.user, packet.password)
        if principal is not None:
            done(principal)
            return
        if self._authenticating >= AUTHENTICATING_MAX:
            done(None)
            return
        self._authenticating += 1
        loop = asyncio.get_running_loop()
        check = loop.run_in_executor(
            self._password_thread, self._authenticator.authenticate, packet.user, packet.password
        )
        check.add_done_callback(lambda found: self._checked(found, done))

    def _checked(self, found: asyncio.Future[Principal | None], done: Callable[[Principal | None], None]) -> None:
        self._authenticating -= 1
        if not found.cancelled():
            done(found.result())

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.broker.expire()
            now_s = asyncio.get_running_loop().time()
            for client in list(self._clients):
                client.check_timeouts(now_s, self.limits.connect_s)

    async def _wait_until_empty(self) -> None:
        self._empty.clear()
        if self._clients:
            await self._empty.wait()


class _Client(asyncio.Protocol):
    """One socket: a Transport that sends the writes of one iteration of the event loop together."""

    def __init__(self, server: BrokerServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._pauses = 0
        self._closing = False
        self._transport: asyncio.Transport | None = None
        self._received_s = self._connected_s = self._closed_s = self._loop.time()
        self.peer = ""
        self.connection = server.connection_for(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"a transport of type {type(transport).__name__}: expected one of a stream")
        self._transport = transport
        self.peer = str(transport.get_extra_info("peername"))
        if not self._server.register(self):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received_s = self._loop.time()
        if not self._closing:
            self.connection.receive(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._server.unregister(self)
        self.connection.connection_lost("" if exc is None else str(exc))

    def write(self, data: bytes) -> None:
        """See edge.mqtt_broker.transport.Transport."""
        if self._closing:
            return
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(data)
        self._unsent_bytes += len(data)

    def _flush(self) -> None:
        if self._unsent and self._transport is not None and not self._closing:
            out, self._unsent, self._unsent_bytes = b"".join(self._unsent), [], 0
            self._transport.write(out)

    def close(self) -> None:
        """See edge.mqtt_broker.transport.Transport."""
        if not self._closing and self._transport is not None:
            self._flush()
            self._closing = True
            self._closed_s = self._loop.time()
            if self._transport.can_write_eof() and not self._transport.is_closing():
                self._transport.write_eof()
                self._transport.resume_reading()
                self._loop.call_later(CLOSE_LINGER_S, self._transport.close)
            else:
                self._transport.close()

    def abort(self) -> None:
        """Closes without sending what is buffered."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def unsent_bytes(self) -> int:
        """See edge.mqtt_broker.transport.Transport."""
        waiting = 0 if self._transport is None else self._transport.get_write_buffer_size()
        return self._unsent_bytes + waiting

    def pause_reading(self) -> None:
        """See edge.mqtt_broker.transport.Transport. Pauses nest: reading resumes after as many resumes."""
        self._pauses += 1
        if self._pauses == 1 and self._transport is not None and not self._closing:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See edge.mqtt_broker.transport.Transport."""
        self._pauses -= 1
        if not self._pauses and self._transport is not None and not self._closing:
            self._received_s = self._loop.time()
            self._transport.resume_reading()

    def check_timeouts(self, now_s: float, connect_s: float) -> None:
        """Ends the connection of a client that was silent too long, unless reading is paused on this side."""
        keep_alive_s = self.connection.keep_alive_s
        if self._closing:
            if now_s - self._closed_s > CLOSE_LINGER_S + STOP_S:
                self.abort()
        elif not self.connection.open:
            if now_s - self._connected_s > connect_s and not self._pauses:
                self.connection.fail(ReasonCode.KEEP_ALIVE_TIMEOUT, f"no CONNECT within {connect_s} s")
        elif keep_alive_s and not self._pauses and now_s - self._received_s > keep_alive_s * 1.5:
            self.connection.fail(ReasonCode.KEEP_ALIVE_TIMEOUT, f"nothing heard for {keep_alive_s * 1.5} s")


async def _wait_at_most(awaitable: Coroutine[Any, Any, object], timeout_s: float) -> None:
    """Awaits, and gives up after the timeout without an error."""
    with suppress(TimeoutError):
        await asyncio.wait_for(awaitable, timeout_s)
