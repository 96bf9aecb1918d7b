"""The transport of a connection, as its state machine needs it; server.py has one over a socket."""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """Bytes to and from one client."""

    def write(self, data: bytes) -> None:
        """Buffers bytes, which are sent soon."""
        ...

    def close(self) -> None:
        """Sends what is buffered and closes."""
        ...

    def unsent_bytes(self) -> int:
        """Number of bytes that are not sent yet."""
        ...

    def pause_reading(self) -> None:
        """Stops reading until `resume_reading`."""
        ...

    def resume_reading(self) -> None:
        """Reads again."""
        ...
