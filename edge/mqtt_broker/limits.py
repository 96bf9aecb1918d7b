"""The gate's limits in one place: what a setting may change. Limits that nobody needs to change stand where they are kept."""

from __future__ import annotations

from dataclasses import dataclass

NEVER_S = 0xFFFF_FFFF
"""A session expiry that never comes (MQTT 5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """packet_bytes_max: of one packet. connections_max: at once. connect_s: from the TCP connection to a CONNECT.
    keep_alive_max_s, session_expiry_max_s: what a client may ask for; one that asks for more is told to use that.
    in_flight_max: messages of QoS 1 and 2 on their way to one client. queue_max: messages that wait for one session, those
    in flight included; beyond it the oldest go. sessions_max: sessions, connected ones included. retained_max: messages.
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
