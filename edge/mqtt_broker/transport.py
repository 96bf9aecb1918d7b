"""The way to a client, as the state machine of its connection sees it; server.py brings one over a socket."""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """The way to the client."""

    def write(self, data: bytes) -> None:
        """Sends bytes, soon."""
        ...

    def close(self) -> None:
        """Sends what is written and closes."""
        ...

    def unsent_bytes(self) -> int:
        """How many bytes wait to be sent."""
        ...

    def pause_reading(self) -> None:
        """Reads no more, until `resume`."""
        ...

    def resume_reading(self) -> None:
        """Reads on."""
        ...
