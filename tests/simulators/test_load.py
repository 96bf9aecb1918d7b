"""The load generator: valid packets, each reading once, its pace, and its count of acknowledgements."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from simulators.load import LoadPlan, Packets, load_fleet, main, run_load
from star.errors import Unavailable


@contextmanager
def endpoint(got: list[tuple[str, dict[str, object]]], answer: bytes = b"\x20\x02\x00\x00") -> Iterator[int]:
    """An MQTT endpoint that accepts everything; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, got, answer), daemon=True).start()
        yield server.getsockname()[1]


def _accept(server: socket.socket, got: list[tuple[str, dict[str, object]]], answer: bytes) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(connection, got, answer), daemon=True).start()


def _serve(connection: socket.socket, got: list[tuple[str, dict[str, object]]], answer: bytes) -> None:
    stream = connection.makefile("rb")
    while head := stream.read(1):
        length, shift = 0, 0
        while True:
            digit = stream.read(1)[0]
            length |= (digit & 127) << shift
            shift += 7
            if digit < 128:
                break
        body = stream.read(length)
        if head[0] >> 4 == 1:
            connection.sendall(answer)
        elif head[0] >> 4 == 3:
            end = 2 + struct.unpack(">H", body[:2])[0]
            if head[0] & 6:
                connection.sendall(b"\x40\x02" + body[end : end + 2])
            got.append(
                (
                    body[2 : struct.unpack(">H", body[:2])[0] + 2].decode(),
                    json.loads(body[end + (2 if head[0] & 6 else 0) :]),
                )
            )
        else:
            return


@pytest.mark.parametrize("qos", [0, 1])
def test_every_message_of_a_load_arrives_once_as_a_reading_of_its_own(qos: int) -> None:
    """Valid JSON on every device's topic, no two equal; at QoS 1 each is acknowledged."""
    got: list[tuple[str, dict[str, object]]] = []
    with endpoint(got) as port:
        result = run_load(LoadPlan(port=port, messages=5003, devices=70, connections=3, qos=qos, inflight_max=500))
        for _ in range(200):
            if len(got) == 5003:
                break
            threading.Event().wait(0.02)
    assert result.sent == 5003
    assert result.acknowledged == (5003 if qos else 0)
    assert (result.latency_ms is not None) == bool(qos)
    assert len({(topic, payload["seq"]) for topic, payload in got}) == 5003
    assert len({topic for topic, _ in got}) == 70
    assert all(100 <= payload["values"]["oil"] <= 900 for _, payload in got)  # type: ignore[index]


def test_a_load_keeps_its_rate() -> None:
    """2,000 messages at 4,000 per second take about half a second."""
    with endpoint([]) as port:
        result = run_load(LoadPlan(port=port, messages=2000, connections=2, rate_per_s=4000.0))
    assert result.seconds > 0.4


def test_a_load_fails_clearly_without_a_server_or_permission(free_port: Callable[[], int]) -> None:
    """One-line errors."""
    with endpoint([], b"\x20\x02\x00\x05") as port, pytest.raises(Unavailable, match="refused the connection"):
        run_load(LoadPlan(port=port, messages=1, user="u", password="p"))
    with pytest.raises(Unavailable, match="can't be reached"):
        run_load(LoadPlan(port=free_port(), messages=1))


def test_a_load_can_be_run_as_a_process_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints one JSON object."""
    with endpoint([]) as port:
        main(["--port", str(port), "--messages", "100", "--devices", "10", "--connections", "1", "--qos", "1"])
    assert json.loads(capsys.readouterr().out)["acknowledged"] == 100


def test_packets_of_a_block_have_the_same_length() -> None:
    """So a block is one contiguous piece of memory."""
    packets = Packets(np.arange(1000), 1, 1_764_000_000.0)
    length = len(packets.block(0, 1))
    assert len(packets.block(5, 2048)) == 2048 * length


def test_the_load_has_a_fleet_of_its_own() -> None:
    """With as many devices as the load."""
    assert len(load_fleet(25).devices) == 25
