"""Shutdown on SIGTERM and SIGINT: commands wait for the signal, then stop their parts in order."""

from __future__ import annotations

import asyncio
import signal


def stop_event() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set, in the running event loop."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped


async def wait_for_stop() -> None:
    """Waits for SIGTERM or SIGINT."""
    await stop_event().wait()
