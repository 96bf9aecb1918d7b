"""A load generator of MQTT telemetry for benchmarks: packets prepared as blocks of bytes, plain sockets, one thread.

It sends far more messages per second than a client library could, so that a benchmark measures the server. It is not a full client:
of MQTT 3.1.1 it has CONNECT, PUBLISH at QoS 0 or 1, PUBACK and DISCONNECT. Run it in a process of its own:
`python -m simulators.load --help`.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import struct
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from config.fleet import Customer, Device, Experience, Fleet, Slot
from star.errors import Unavailable

Bytes = NDArray[np.uint8]

SLOT = "oil"
"""The slot of every device, and the name of the value that it reports."""
CAPACITY = 1000.0
BLOCK_MESSAGES = 2048
"""Messages prepared at once for a connection: a few hundred KiB."""
WAIT_S_MAX = 30.0
"""Time without progress after which the server counts as failed."""
_SEQ_FIRST = 1_000_000_000  # ten digits, as JSON forbids leading zeros and every packet has the same length
_PUBACK_BYTES = 4
_PAUSE_S = 0.0005
_PACKET_IDS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """A load. messages: in total; rate_per_s: of all connections together, None: as fast as the server accepts.

    at_s: time of the first measurement, step_s: between two measurements of a device. inflight_max: unacknowledged messages of a
    connection at QoS 1.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    messages: int = 100_000
    devices: int = 1000
    connections: int = 4
    qos: int = 0
    rate_per_s: float | None = None
    inflight_max: int = 2000
    at_s: float = 1_764_000_000.0
    step_s: int = 1
    user: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """The result of a load. latency_ms: times from sending to PUBACK: median, 99 % quantile, longest; None at QoS 0."""

    sent: int
    acknowledged: int
    seconds: float
    messages_per_s: float
    latency_ms: tuple[float, float, float] | None


def load_fleet(devices: int) -> Fleet:
    """The fleet of a load of `devices` devices."""
    return Fleet(
        customers=(Customer(id="load", experience=Experience.RESPOND, consents=("replenishment",)),),
        devices=tuple(
            Device(id=device_name(n), customer="load", profile="level-tank", slots={SLOT: Slot(capacity=CAPACITY)})
            for n in range(devices)
        ),
    )


def device_name(number: int) -> str:
    """The id of a device of the load."""
    return f"load-{number:06d}"


class Packets:
    """PUBLISH packets of one connection's devices, all of the same length, written as columns of digits."""

    def __init__(self, devices: NDArray[np.int64], qos: int, at_s: float, step_s: int = 1) -> None:
        """devices: (d,) numbers; message k is of device k modulo d. at_s: of the first measurement, ten digits."""
        topic = f"starloop/v1/{device_name(0)}/telemetry".encode()
        payload = f'{{"at":{at_s:.3f},"seq":{_SEQ_FIRST},"values":{{"{SLOT}":500.00}}}}'.encode()
        head = struct.pack(">H", len(topic)) + topic + (b"\x00\x00" if qos else b"")
        body = head + payload
        length = bytes([len(body) % 128 + 128, len(body) // 128]) if len(body) > 127 else bytes([len(body)])
        packet = bytes([0x30 | qos << 1]) + length + body
        self._template = np.frombuffer(packet, dtype=np.uint8)
        start = 1 + len(length)
        self._name_at = start + 2 + topic.index(b"000000")
        self._id_at = start + 2 + len(topic)
        payload_at = len(packet) - len(payload)
        self._at_at = payload_at + payload.index(b":") + 1
        self._seq_at = payload_at + payload.index(b'"seq":') + 6
        self._value_at = len(packet) - len(b"500.00}}")
        self._devices, self._qos, self._at_ms = devices, qos, round(at_s * 1000)
        self._step_ms = step_s * 1000

    def block(self, first: int, count: int) -> bytes:
        """The packets of messages `first` to `first + count`."""
        number = first + np.arange(count)
        rounds, device = np.divmod(number, len(self._devices))
        out = np.tile(self._template, (count, 1))
        self._digits(out, self._name_at, 6, self._devices[device])
        at_ms = self._at_ms + rounds * self._step_ms
        self._digits(out, self._at_at, 10, at_ms // 1000)
        self._digits(out, self._at_at + 11, 3, at_ms % 1000)
        self._digits(out, self._seq_at, 10, _SEQ_FIRST + rounds)
        level = 90_000 - (rounds * 7 + device * 13) % 80_000
        self._digits(out, self._value_at, 3, level // 100)
        self._digits(out, self._value_at + 4, 2, level % 100)
        if self._qos:
            packet_id = number % _PACKET_IDS + 1
            out[:, self._id_at] = packet_id >> 8
            out[:, self._id_at + 1] = packet_id & 255
        return out.tobytes()

    @staticmethod
    def _digits(out: Bytes, place: int, width: int, values: NDArray[np.int64]) -> None:
        left = values
        for column in range(place + width - 1, place - 1, -1):
            left, digit = np.divmod(left, 10)
            out[:, column] = digit + 48


@dataclass(slots=True, kw_only=True)
class _Connection:
    sock: socket.socket
    packets: Packets
    share: int  # messages to send
    packet_bytes: int
    prepared: memoryview = field(default_factory=lambda: memoryview(b""))
    next: int = 0  # first message not yet prepared
    bytes_sent: int = 0
    bytes_acked: int = 0
    marks: deque[tuple[int, float]] = field(default_factory=deque)  # messages sent so far, when

    @property
    def sent(self) -> int:
        return self.bytes_sent // self.packet_bytes

    @property
    def acked(self) -> int:
        return self.bytes_acked // _PUBACK_BYTES


def run_load(plan: LoadPlan) -> LoadResult:
    """Sends the plan's messages; returns when all are sent, or at QoS 1 acknowledged. Raises Unavailable."""
    connections = [_connect(plan, number) for number in range(plan.connections)]
    latencies: list[float] = []
    started = progressed = time.perf_counter()
    with selectors.DefaultSelector() as selector, selectors.DefaultSelector() as answers:
        for one in connections:
            selector.register(one.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, one)
            answers.register(one.sock, selectors.EVENT_READ)
        while any(not _is_complete(one, plan) for one in connections):
            now = time.perf_counter()
            due = plan.messages if plan.rate_per_s is None else int((now - started) * plan.rate_per_s) + 1
            moved = 0
            for key, events in selector.select(timeout=1.0):
                one = key.data
                if events & selectors.EVENT_READ:
                    moved += _receive_acks(one, latencies)
                if events & selectors.EVENT_WRITE:
                    moved += _send_due(one, plan, due)
            if moved:
                progressed = now
            elif now - progressed > WAIT_S_MAX:
                raise Unavailable(f"{plan.host}:{plan.port} neither received nor sent anything for {WAIT_S_MAX:g} s")
            else:
                answers.select(timeout=_PAUSE_S)  # nothing is due, or inflight_max is reached
    seconds = time.perf_counter() - started
    for one in connections:
        one.sock.setblocking(True)
        one.sock.sendall(b"\xe0\x00")
        one.sock.close()
    sent = sum(one.sent for one in connections)
    spread = tuple(float(x) for x in np.percentile(latencies, (50, 99, 100)) * 1000) if latencies else None
    return LoadResult(
        sent=sent,
        acknowledged=sum(one.acked for one in connections),
        seconds=seconds,
        messages_per_s=sent / seconds,
        latency_ms=(spread[0], spread[1], spread[2]) if spread else None,
    )


def _is_complete(one: _Connection, plan: LoadPlan) -> bool:
    return one.sent >= one.share and (plan.qos == 0 or one.acked >= one.share)


def _send_due(one: _Connection, plan: LoadPlan, due: int) -> int:
    """Sends what is due and within inflight_max; the number of bytes sent."""
    allowed = min(one.share, -(-due // plan.connections))
    if plan.qos:
        allowed = min(allowed, one.acked + plan.inflight_max)
    room = allowed * one.packet_bytes - one.bytes_sent
    if room <= 0:
        return 0
    if not one.prepared:
        count = min(BLOCK_MESSAGES, one.share - one.next)
        one.prepared = memoryview(one.packets.block(one.next, count))
        one.next += count
    try:
        count = one.sock.send(one.prepared[:room])
    except BlockingIOError:
        return 0
    one.bytes_sent += count
    one.prepared = one.prepared[count:]
    if plan.qos:
        one.marks.append((one.sent, time.perf_counter()))
    return count


def _receive_acks(one: _Connection, latencies: list[float]) -> int:
    """Counts acknowledgements; the number of bytes received. One latency is recorded per piece sent."""
    try:
        received = len(one.sock.recv(1 << 16))
    except BlockingIOError:
        return 0
    if received == 0:
        raise Unavailable("the server closed the connection")
    one.bytes_acked += received
    now = time.perf_counter()
    while one.marks and one.marks[0][0] <= one.acked:
        latencies.append(now - one.marks.popleft()[1])
    return received


def _connect(plan: LoadPlan, number: int) -> _Connection:
    try:
        sock = socket.create_connection((plan.host, plan.port), timeout=WAIT_S_MAX)
    except OSError as error:
        raise Unavailable(f"{plan.host}:{plan.port} can't be reached: {error}") from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(_connect_packet(f"load-{number}", plan.user, plan.password))
    answer = sock.recv(4)
    if answer[:1] != b"\x20" or answer[3:] != b"\x00":
        raise Unavailable(f"{plan.host}:{plan.port} refused the connection: CONNACK {answer.hex()}")
    sock.setblocking(False)
    own = np.arange(number, plan.devices, plan.connections)
    packets = Packets(own, plan.qos, plan.at_s, plan.step_s)
    share = plan.messages // plan.connections + (number < plan.messages % plan.connections)
    return _Connection(sock=sock, packets=packets, share=share, packet_bytes=len(packets.block(0, 1)))


def _connect_packet(client: str, user: str | None, password: str | None) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack(">H", len(value.encode())) + value.encode()

    flags = 0x02 | (0x80 if user is not None else 0) | (0x40 if password is not None else 0)
    body = text("MQTT") + bytes([4, flags, 0, 0]) + text(client)
    body += b"".join(text(value) for value in (user, password) if value is not None)
    if len(body) > 127:
        raise Unavailable("user name and password are longer than 90 characters together")
    return bytes([0x10, len(body)]) + body


def main(arguments: list[str] | None = None) -> None:
    """Sends a load and prints its result as one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m simulators.load", description=str(__doc__).splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--qos", type=int, choices=(0, 1), default=0)
    parser.add_argument("--rate", type=float, dest="rate_per_s", help="messages a second of all; default: no limit")
    parser.add_argument("--inflight", type=int, dest="inflight_max", default=2000)
    parser.add_argument(
        "--step", type=int, default=1, dest="step_s", help="measured seconds between a device's messages"
    )
    parser.add_argument("--at", type=float, dest="at_s", default=1_764_000_000.0)
    parser.add_argument("--user")
    parser.add_argument("--password")
    plan = LoadPlan(**vars(parser.parse_args(arguments)))
    sys.stdout.write(json.dumps(asdict(run_load(plan))) + "\n")


if __name__ == "__main__":
    main()
