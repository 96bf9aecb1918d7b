"""A console on the tests' neighbourhood, to look at: `python -m tests.support.console.serve [PORT]`. Not shipped."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from console.app import create_app, create_console
from console.server import serving, sign_in_link
from tests.support.console.fake_backend import FakeBackend


async def main(port: int) -> None:
    """Serves until interrupted, printing a link."""
    with tempfile.TemporaryDirectory() as folder:
        console = create_console(FakeBackend(Path(folder)), Path(folder))
        async with serving(create_app(console), "127.0.0.1", port, free_port=True) as bound:
            print(sign_in_link("127.0.0.1", bound, console.sessions.create_link()), flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8099))
