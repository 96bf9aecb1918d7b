"""A client that publishes at QoS 1, and resends unacknowledged messages after a connection loss, as a device should."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import OrderedDict

IN_FLIGHT_MAX = 400
RECONNECT_S = 0.05


class Feeder(threading.Thread):
    """Publishes messages up to `allow(n)`; `acknowledged` counts PUBACKs. One connection, one packet id a message in flight."""

    def __init__(self, port: int, messages: list[tuple[str, bytes]]) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._messages = messages
        self._allowed = 0
        self._next = 0
        self._in_flight: OrderedDict[int, int] = OrderedDict()  # packet id -> message
        self._stopped = threading.Event()
        self.acknowledged = 0

    def allow(self, count: int) -> None:
        """Allows the first `count` messages to be sent."""
        self._allowed = min(count, len(self._messages))

    def done(self) -> bool:
        """Whether every message is acknowledged."""
        return self.acknowledged == len(self._messages)

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped.set()

    def run(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(OSError):
                self._connection()
            time.sleep(RECONNECT_S)

    def _connection(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=5) as sock:
            name = b"feeder"
            body = b"\x00\x04MQTT\x04\x00\x00\x3c" + struct.pack(">H", len(name)) + name
            sock.sendall(b"\x10" + bytes([len(body)]) + body)
            if sock.recv(4)[:1] != b"\x20":
                return
            for packet_id, message in self._in_flight.items():
                sock.sendall(self._publish(message, packet_id, again=True))
            sock.settimeout(0.005)
            unread = b""
            while not self._stopped.is_set():
                self._send_more(sock)
                try:
                    read = sock.recv(65_536)
                except TimeoutError:
                    continue
                if not read:
                    return
                unread += read
                whole = len(unread) // 4 * 4
                for place in range(0, whole, 4):
                    assert unread[place] == 0x40, unread[place : place + 4]
                    packet_id = struct.unpack(">H", unread[place + 2 : place + 4])[0]
                    del self._in_flight[packet_id]
                    self.acknowledged += 1
                unread = unread[whole:]

    def _send_more(self, sock: socket.socket) -> None:
        packets = []
        while self._next < self._allowed and len(self._in_flight) < IN_FLIGHT_MAX:
            packet_id = self._next % 60_000 + 1
            self._in_flight[packet_id] = self._next
            packets.append(self._publish(self._next, packet_id))
            self._next += 1
        if packets:
            sock.sendall(b"".join(packets))

    def _publish(self, message: int, packet_id: int, *, again: bool = False) -> bytes:
        topic, payload = self._messages[message]
        body = struct.pack(">H", len(topic)) + topic.encode() + struct.pack(">H", packet_id) + payload
        length = len(body)
        size = bytes([length]) if length < 128 else bytes([length % 128 | 128, length // 128])
        return bytes([0x3A if again else 0x32]) + size + body
