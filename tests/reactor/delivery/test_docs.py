"""The pages on reactions, webhooks and suppliers show what the code does."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
import tomllib
from http.server import HTTPServer
from pathlib import Path
from typing import Any

from config.fleet import Supplier
from reactor.channels.webhook import WebhookChannel
from reactor.delivery.cloudevents import cloud_event
from star.analyse import Forecast
from star.react import ReactionType
from tests.support.delivery_fleet import SECRET, START_MS, ManualClock, reaction_of

DOCS = Path(__file__).parents[3] / "docs"


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def test_the_event_on_the_page_is_one_that_goes_out() -> None:
    """Member for member, in the same order."""
    forecast = Forecast(
        item="tank-7/oil",
        at_ms=START_MS,
        level=212.5,
        days=(2.8, 3.1, 3.6, 4.6, 5.9, 7.4, 9.0, 10.2, 12.6),
        rate_per_day=36.0,
        trust=0.97,
        model="run-out@2:5e3b77edc79c",
        readings=412,
        reading_ms=START_MS - 600_000,
        reading=213.0,
    )
    order = reaction_of(
        sku="oil-500",
        forecast=forecast,
        cancel_before_ms=START_MS + 12 * 3_600_000,
        because="Your heating oil lasts about 6 days, and acme needs up to 5 to deliver.",
    )
    shown = json.loads(blocks("reference/reactions.md", "json")[0])
    assert json.dumps(shown) == json.dumps(cloud_event(order))


def test_every_type_is_on_the_page() -> None:
    """None more, none less."""
    page = (DOCS / "reference/reactions.md").read_text()
    assert set(re.findall(r"^\| `(starloop\.[a-z.]+)`", page, re.MULTILINE)) == {str(kind) for kind in ReactionType}


def test_the_how_to_s_supplier_takes_a_real_order() -> None:
    """The page's table is a supplier, and its server verifies what we send and keeps it once."""
    supplier = Supplier.model_validate(tomllib.loads(blocks("how-to/connect-a-supplier.md", "toml")[0])["suppliers"][0])
    assert supplier.secret == SECRET
    page: dict[str, Any] = {"__name__": "page"}
    exec(compile(blocks("how-to/connect-a-supplier.md", "python")[0], "page", "exec"), page)
    page["Orders"].log_message = lambda *_: None
    with HTTPServer(("127.0.0.1", 0), page["Orders"]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        here = supplier.model_copy(update={"endpoint": f"http://127.0.0.1:{server.server_port}/"})
        try:
            asyncio.run(_send_twice(here))
        finally:
            server.shutdown()
            thread.join()
    assert [event["id"] for event in page["orders"].values()] == [reaction_of().id]


async def _send_twice(supplier: Supplier) -> None:
    channel = WebhookChannel(lambda _: supplier, default_secret=SECRET, clock=ManualClock(round(time.time() * 1000)))
    await channel.send(reaction_of(), supplier.endpoint)
    await channel.send(reaction_of(), supplier.endpoint)
    await channel.close()
