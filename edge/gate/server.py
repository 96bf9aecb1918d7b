"""The gate's sockets: TCP and TLS, timeouts and limits, writes gathered, reading stopped while the log is behind.

What the bytes mean is connection.py's. One event loop; passwords are checked in a thread of their own.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from edge.gate.access import Access, Principal
from edge.gate.connection import Connection
from edge.gate.hub import Hub, message_of
from edge.gate.limits import Limits
from edge.gate.packets import Code, Connect, Properties

__all__ = ["GateServer", "Limits"]

SWEEP_S = 0.5
LINGER_S = 2.0
"""How long a connection that we end is read on (and nothing done with it), so that the client gets our last words."""
AUTHENTICATING_MAX = 500
"""Passwords that wait to be checked; further clients are told that the server is busy."""
STOP_S = 10.0
"""How long a stop waits for what was handed in, and for clients to take what was written."""


class GateServer:
    """An MQTT endpoint over a Hub. say: logs an event."""

    def __init__(self, hub: Hub, access: Access, say: Callable[..., None], limits: Limits | None = None) -> None:
        self.hub = hub
        self.limits = hub.limits = limits or hub.limits
        self.refused = 0
        self._access = access
        self._say = say
        self._clients: set[_Client] = set()
        self._servers: list[asyncio.Server] = []
        self._checking = ThreadPoolExecutor(1, "gate-passwords")
        self._authenticating = 0
        self._sweeping: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listens; gives the port (of interest where `port` is 0). Raises OSError where it can't. May be called again."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Client(self), host, port, ssl=tls, backlog=1024)
        self._servers.append(server)
        if self._sweeping is None:
            self._sweeping = loop.create_task(self._sweep())
        chosen: int = server.sockets[0].getsockname()[1]
        return chosen

    async def stop(self) -> None:
        """Reads no more, waits for what was handed in, says goodbye to clients and closes."""
        for server in self._servers:
            server.close()
        for client in self._clients:
            client.pause()
        done = asyncio.Event()
        if self.hub.ingest is not None:
            self.hub.ingest.offer([], lambda: self.hub.store.after_commit(done.set))
        else:
            self.hub.store.after_commit(done.set)
        await _within(done.wait(), STOP_S)
        for client in list(self._clients):
            client.connection.fail(Code.SERVER_SHUTTING_DOWN, "the server stops")
        await _within(self._emptied(), STOP_S / 2)
        for client in list(self._clients):
            client.abort()
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._checking.shutdown(wait=False, cancel_futures=True)

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, properties: Properties | None = None
    ) -> int:
        """Publishes a message of our own; gives how many sessions it went to.

        Returns when what must survive a restart - the retained message, what waits in persistent sessions - is on disk.
        """
        count = self.hub.publish(message_of(topic, payload, qos, retain, properties, self.hub.clock()))
        kept = asyncio.get_running_loop().create_future()
        self.hub.store.after_commit(lambda: None if kept.done() else kept.set_result(None))
        await kept
        return count

    def fleet_changed(self) -> None:
        """Devices may have come, gone or changed hands: what clients may do is found out anew."""
        for client in self._clients:
            client.connection.reconsider()

    def connections(self) -> int:
        """How many connections there are."""
        return len(self._clients)

    def joined(self, client: _Client) -> bool:
        """Counts a new connection; False where there are too many."""
        if len(self._clients) >= self.limits.connections_max:
            self.refused += 1
            self._say("connection_refused", connections=len(self._clients), peer=client.peer)
            return False
        self._clients.add(client)
        return True

    def left(self, client: _Client) -> None:
        """A connection is gone."""
        self._clients.discard(client)
        if not self._clients:
            self._empty.set()

    def connection_for(self, client: _Client) -> Connection:
        """The state machine of a new connection."""
        return Connection(self.hub, client, self._authenticate, self._say)

    def _authenticate(self, packet: Connect, done: Callable[[Principal | None], None]) -> None:
        principal = self._access.known(packet.user, packet.password)
        if principal is not None:
            done(principal)
            return
        if self._authenticating >= AUTHENTICATING_MAX:
            done(None)
            return
        self._authenticating += 1
        loop = asyncio.get_running_loop()
        check = loop.run_in_executor(self._checking, self._access.check, packet.user, packet.password)
        check.add_done_callback(lambda found: self._checked(found, done))

    def _checked(self, found: asyncio.Future[Principal | None], done: Callable[[Principal | None], None]) -> None:
        self._authenticating -= 1
        if not found.cancelled():
            done(found.result())

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.hub.tick()
            now_s = asyncio.get_running_loop().time()
            for client in list(self._clients):
                client.sweep(now_s, self.limits.connect_s)

    async def _emptied(self) -> None:
        self._empty.clear()
        if self._clients:
            await self._empty.wait()


class _Client(asyncio.Protocol):
    """One socket: a Wire (edge.gate.wire) whose writes of one turn of the loop go out together."""

    def __init__(self, server: GateServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._pauses = 0
        self._closing = False
        self._transport: asyncio.Transport | None = None
        self._heard_s = self._since_s = self._closed_s = self._loop.time()
        self.peer = ""
        self.connection = server.connection_for(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"a transport of type {type(transport).__name__}: expected one of a stream")
        self._transport = transport
        self.peer = str(transport.get_extra_info("peername"))
        if not self._server.joined(self):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self._heard_s = self._loop.time()
        if not self._closing:
            self.connection.receive(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._server.left(self)
        self.connection.lost("" if exc is None else str(exc))

    def write(self, data: bytes) -> None:
        """See edge.gate.wire.Wire."""
        if self._closing:
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)
        self._out_bytes += len(data)

    def _flush(self) -> None:
        if self._out and self._transport is not None and not self._closing:
            out, self._out, self._out_bytes = b"".join(self._out), [], 0
            self._transport.write(out)

    def close(self) -> None:
        """See edge.gate.wire.Wire."""
        if not self._closing and self._transport is not None:
            self._flush()
            self._closing = True
            self._closed_s = self._loop.time()
            if self._transport.can_write_eof() and not self._transport.is_closing():
                self._transport.write_eof()
                self._transport.resume_reading()
                self._loop.call_later(LINGER_S, self._transport.close)
            else:
                self._transport.close()

    def abort(self) -> None:
        """Closes without sending what is written."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def backlog(self) -> int:
        """See edge.gate.wire.Wire."""
        waiting = 0 if self._transport is None else self._transport.get_write_buffer_size()
        return self._out_bytes + waiting

    def pause(self) -> None:
        """See edge.gate.wire.Wire. Pauses count: reading goes on when each has its resume."""
        self._pauses += 1
        if self._pauses == 1 and self._transport is not None and not self._closing:
            self._transport.pause_reading()

    def resume(self) -> None:
        """See edge.gate.wire.Wire."""
        self._pauses -= 1
        if not self._pauses and self._transport is not None and not self._closing:
            self._heard_s = self._loop.time()
            self._transport.resume_reading()

    def sweep(self, now_s: float, connect_s: float) -> None:
        """Ends the connection where the client was silent too long; not while we are the ones who do not listen."""
        keep_alive_s = self.connection.keep_alive_s
        if self._closing:
            if now_s - self._closed_s > LINGER_S + STOP_S:
                self.abort()
        elif not self.connection.open:
            if now_s - self._since_s > connect_s and not self._pauses:
                self.connection.fail(Code.KEEP_ALIVE_TIMEOUT, f"no CONNECT within {connect_s} s")
        elif keep_alive_s and not self._pauses and now_s - self._heard_s > keep_alive_s * 1.5:
            self.connection.fail(Code.KEEP_ALIVE_TIMEOUT, f"nothing heard for {keep_alive_s * 1.5} s")


async def _within(awaitable: Coroutine[Any, Any, object], timeout_s: float) -> None:
    """Waits, but not longer than that."""
    with suppress(TimeoutError):
        await asyncio.wait_for(awaitable, timeout_s)
