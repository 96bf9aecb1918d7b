"""The broker's limits that settings may change. Limits without a setting are constants of the modules that enforce them."""

from __future__ import annotations

from dataclasses import dataclass

NEVER_S = 0xFFFF_FFFF
"""A session expiry that never comes (MQTT 5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a broker.

    packet_bytes_max: bytes of one packet. connections_max: connections at a time. connect_s: seconds from the TCP
    connection to the CONNECT. keep_alive_max_s, session_expiry_max_s: the most a client may request; one that requests
    more is given this. in_flight_max: unacknowledged messages of QoS 1 and 2 to one client. queue_max: messages queued for
    one session, in flight included; beyond it the oldest are dropped. sessions_max: sessions, connected or not.
    retained_max: retained messages.
    """

    packet_bytes_max: int = 16 * 1024 * 1024
    connections_max: int = 20_000
    connect_s: float = 10.0
    keep_alive_max_s: int = 3_600
    session_expiry_max_s: int = NEVER_S
    in_flight_max: int = 1_000
    queue_max: int = 10_000
    sessions_max: int = 200_000
    retained_max: int = 200_000
