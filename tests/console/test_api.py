"""The HTTP API: the same payloads as over MQTT, errors as problem details, and each token's own things only."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from config.fleet import Experience
from console.page_context import Console
from tests.console.conftest import BASE, MARIA_TOKEN, OPS_TOKEN
from tests.support.console.fake_backend import FakeBackend


def caller(app: FastAPI, token: str | None) -> httpx.AsyncClient:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=f"{BASE}/api/v1/", headers=headers)


@pytest.fixture
async def service(app: FastAPI, console: Console) -> AsyncIterator[httpx.AsyncClient]:
    """A program with the service's own token."""
    async with caller(app, console.service_token) as client:
        yield client


@pytest.fixture
async def marias(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A program with Maria's token."""
    async with caller(app, MARIA_TOKEN) as client:
        yield client


def is_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem details of an answer, checked."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["title"]
    return body


async def test_telemetry_over_http_is_ingested_like_mqtt(service: httpx.AsyncClient, world: FakeBackend) -> None:
    """202 after it is on disk, the payload handed on byte for byte, CBOR too."""
    payload = b'{"at": 1764000000.0, "seq": 17, "boot": 3, "values": {"oil": 812.5}}'
    answer = await service.post("devices/tank-7/telemetry", content=payload)
    assert (answer.status_code, answer.json()) == (202, {"taken": True})
    cbor = b"\x81\xa2\x00coil\x02\xf9"
    headers = {"Content-Type": "application/senml+cbor"}
    assert (await service.post("devices/tank-7/telemetry", content=cbor, headers=headers)).status_code == 202
    assert world.submissions == [("telemetry", ("tank-7", payload)), ("telemetry", ("tank-7", cbor))]


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("devices/tank-7/telemetry", b"not json", 400, "not JSON"),
        ("devices/tank-7/telemetry", b"", 400, "empty"),
        ("devices/tank-7/telemetry", b'{"values": {"oil": "bad"}}', 422, "values.oil is 'bad': expected a number"),
        ("devices/ghost/telemetry", b"{}", 404, "ghost"),
        ("devices/tank-7/outcomes", b'{"id": "1", "result": "nonsense"}', 422, "result is 'nonsense'"),
        ("devices/tank-7/outcomes", b"[]", 422, "a list of 0"),
        ("devices/tank-7/outcomes", b"3", 422, "int"),
        (
            "devices/tank-7/outcomes",
            b'{"id": "1", "reaction": "brew-1/beans/4/offer/1"}',
            422,
            "about the device tank-7",
        ),
    ],
)
async def test_what_cant_be_ingested_is_refused_with_the_reason(
    service: httpx.AsyncClient, world: FakeBackend, path: str, body: bytes, status: int, reason: str
) -> None:
    """As problem details; nothing of it is taken."""
    assert reason in is_problem(await service.post(path, content=body), status)["detail"]
    assert world.submissions == []


async def test_requests_and_outcomes_name_the_item_as_on_the_device(
    service: httpx.AsyncClient, world: FakeBackend
) -> None:
    """One or several at once; `oil` and `tank-7/oil` are the same item."""
    await service.post("devices/tank-7/requests", json={"id": "r1", "item": "oil", "quantity": 5})
    await service.post(
        "devices/tank-7/outcomes",
        json=[
            {"id": "o1", "item": "tank-7/oil", "result": "refilled"},
            {"id": "o2", "item": "oil", "result": "refilled"},
        ],
    )
    assert [said for _, said in world.submissions] == [
        {"id": "r1", "item": "tank-7/oil", "quantity": 5},
        {"id": "o1", "item": "tank-7/oil", "result": "refilled"},
        {"id": "o2", "item": "tank-7/oil", "result": "refilled"},
    ]


async def test_accepting_needs_the_customers_own_token(
    app: FastAPI, marias: httpx.AsyncClient, world: FakeBackend
) -> None:
    """An operator's does not spend Maria's money; hers does, and a list with one acceptance in it is refused whole."""
    accepted = {"id": "a", "reaction": "brew-1/beans/4/offer/1", "result": "accepted", "quantity": 100.0}
    async with caller(app, OPS_TOKEN) as ops:
        told = [{"id": "b", "item": "beans", "result": "refilled"}, accepted]
        assert "spends money" in is_problem(await ops.post("devices/brew-1/outcomes", json=told), 403)["detail"]
    assert world.submissions == []
    assert (await marias.post("devices/brew-1/outcomes", json=accepted)).status_code == 202


@pytest.mark.parametrize("token", [None, "wrong", ""])
async def test_without_a_known_token_nothing_is_revealed(app: FastAPI, token: str | None) -> None:
    """401, with how to do it right; a browser's session is not a token."""
    async with caller(app, token) as client:
        for path in ("items", "needs", "reactions", "quarantine", "customers"):
            answer = await client.get(path)
            assert is_problem(answer, 401)["detail"]
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_items_come_with_their_forecast_page_by_page(service: httpx.AsyncClient) -> None:
    """`next` leads on until it is null, and every item is there once."""
    keys: list[str] = []
    after: str | None = ""
    while after is not None:
        page = (await service.get("items", params={"limit": 5, "after": after})).json()
        keys += [row["item"] for row in page["items"]]
        after = page["next"]
    assert keys == sorted(keys)
    assert len(keys) == 12
    one = (await service.get("items/tank-7/oil?days=7")).json()
    assert one["kind"] == "slot"
    assert one["capacity"] == 1500.0
    assert one["forecast"]["days_to_empty"].keys() == {"0.05", "0.25", "0.5", "0.75", "0.95"}
    assert 50 <= len(one["history"]) <= 7 * 24 * 4
    assert (await service.get("items/inkjet-3/yellow")).json()["forecast"] is None
    part = (await service.get("items/tank-7/burner")).json()
    assert part["kind"] == "part"


async def test_needs_reactions_and_receipts_can_be_read(service: httpx.AsyncClient) -> None:
    """A receipt by the reaction's id and by the need's, slashes as they are."""
    needs = (await service.get("needs")).json()["needs"]
    assert {need["need"]: need["state"] for need in needs}["brew-1/beans/4"] == "offered"
    closed = (await service.get("needs?living=false&item=tank-7/oil")).json()["needs"]
    assert {need["state"] for need in closed} == {"closed"}
    reactions = (await service.get("reactions?limit=3")).json()["reactions"]
    assert len(reactions) == 3
    assert reactions[0]["type"].startswith("starloop.")
    receipt = (await service.get("why/filter-2/filter/1/order/1")).json()
    assert receipt["decision"]["forecast"]["model"] == "run-out@1.0.0:9f2c41d07ab3"
    assert [rule["rule"] for rule in receipt["decision"]["rules"]] == ["consent", "quiet_hours", "budget"]
    assert receipt["sending"][1]["state"] == "given-up"
    need = (await service.get("why/rack-007/paper_towels/1")).json()
    assert need["decisions"][0]["verdict"] == "wait"
    is_problem(await service.get("why/no/such/thing"), 404)


async def test_operators_get_quarantined_payloads_whole(service: httpx.AsyncClient, marias: httpx.AsyncClient) -> None:
    """With the raw bytes; to customers it does not exist."""
    rows = (await service.get("quarantine")).json()["quarantine"]
    assert rows[0]["topic"] is None
    assert rows[-1]["payload_base64"] == "eyJ2YWx1ZXMiOiB7Im9pbCI6IE5hTn19"
    is_problem(await marias.get("quarantine"), 404)


async def test_a_customers_token_opens_their_own_things_only(marias: httpx.AsyncClient, world: FakeBackend) -> None:
    """Lists are theirs, everything else is not there."""
    assert {row["customer"] for row in (await marias.get("items")).json()["items"]} == {"maria"}
    assert [row["id"] for row in (await marias.get("customers")).json()["customers"]] == ["maria"]
    assert {row["id"] for row in (await marias.get("devices")).json()["devices"]} == {"tank-7", "brew-1"}
    reactions = (await marias.get("reactions")).json()["reactions"]
    assert {row["data"]["customer"] for row in reactions} == {"maria"}
    for path in (
        "items/inkjet-3/black",
        "why/inkjet-3/black/2",
        "why/inkjet-3/black/2/request/1",
        "customers/tom",
        "devices/inkjet-3",
        "needs?item=inkjet-3/black",
    ):
        is_problem(await marias.get(path), 404)
    is_problem(await marias.post("devices/inkjet-3/telemetry", content=b"{}"), 404)
    is_problem(await marias.patch("customers/tom", json={"experience": "auto"}), 404)
    is_problem(await marias.patch("devices/inkjet-3", json={"slots": {}}), 404)
    is_problem(await marias.patch("devices/new-device", json={"profile": "printer"}), 404)
    is_problem(await marias.patch("suppliers/acme", json={"price": 1}), 403)
    is_problem(await marias.patch("devices/tank-7", json={"customer": "tom"}), 403)
    assert world.submissions == []


async def test_a_patch_changes_named_fields_and_null_resets_them(marias: httpx.AsyncClient, world: FakeBackend) -> None:
    """In force when answered; what it does not name stays."""
    answer = await marias.patch("customers/maria", json={"experience": "offer", "budget_per_month": None})
    assert answer.status_code == 200
    customer = world.catalogue().customers["maria"]
    assert (customer.experience, customer.budget_per_month, customer.language) == (Experience.OFFER, None, "fr")
    assert answer.json()["budget_per_month"] is None
    await marias.patch("devices/tank-7", json={"slots": {"oil": {"price_max": 700.0}}})
    oil = world.catalogue().devices["tank-7"].slots["oil"]
    assert (oil.price_max, oil.suppliers) == (700.0, ("acme",))
    await marias.patch("devices/tank-7", json={"slots": {"oil": {"price_max": None}}})
    assert world.catalogue().devices["tank-7"].slots["oil"].price_max is None


async def test_an_operator_adds_devices_and_suppliers(service: httpx.AsyncClient, world: FakeBackend) -> None:
    """An unknown id is a new row; suppliers' secrets are never given back."""
    device = {"customer": "tom", "profile": "printer", "slots": {"black": {"suppliers": ["papers"]}}}
    assert (await service.patch("devices/inkjet-9", json=device)).status_code == 200
    assert "inkjet-9/black" in world.catalogue().slots
    await service.patch("suppliers/neighbours", json={"kind": "peer", "price": 12.0, "secret": "whsec_c2VjcmV0"})
    assert world.catalogue().suppliers["neighbours"].secret == "whsec_c2VjcmV0"
    assert "whsec" not in (await service.get("suppliers")).text
    assert "whsec" not in (await service.get("suppliers/acme")).text
    assert world.catalogue().suppliers["acme"].secret == "whsec_c2VjcmV0"


@pytest.mark.parametrize(
    ("path", "patch", "field"),
    [
        ("devices/tank-7", {"profile": "no-such"}, "profile"),
        ("customers/maria", {"experience": "more"}, "experience"),
        ("customers/maria", {"experience": "respond"}, "experience"),
        ("suppliers/acme", {"lead_time_days": [5, 2, 1]}, "lead_time_days"),
    ],
)
async def test_a_change_with_a_mistake_names_the_field_and_changes_nothing(
    service: httpx.AsyncClient, world: FakeBackend, path: str, patch: dict[str, Any], field: str
) -> None:
    """Also where the mistake is of one table against another (an item that would be allowed more than its customer)."""
    before = world.catalogue()
    body = is_problem(await service.patch(path, json=patch), 422)
    assert any(field in error["field"] for error in body["errors"])
    assert world.catalogue() is before


@pytest.mark.parametrize(("body", "status"), [(b"[]", 422), (b"{", 400), (b'{"id": "other"}', 422)])
async def test_a_patch_that_is_no_patch_is_refused(service: httpx.AsyncClient, body: bytes, status: int) -> None:
    """Not an object, not JSON, another id."""
    is_problem(await service.patch("customers/maria", content=body), status)


async def test_errors_outside_the_routes_are_problems_too(service: httpx.AsyncClient, world: FakeBackend) -> None:
    """Unknown paths, wrong methods, wrong parameters, and our own failures without their text."""
    is_problem(await service.get("nothing"), 404)
    is_problem(await service.delete("items"), 405)
    assert is_problem(await service.get("items?limit=lots"), 422)["errors"][0]["field"] == "query.limit"

    def broken() -> None:
        raise RuntimeError("secret detail")

    world.catalogue_hook = broken
    assert "secret detail" not in is_problem(await service.get("items"), 500)["detail"]


async def test_the_description_of_the_api_is_served_and_whole(anyone: httpx.AsyncClient) -> None:
    """OpenAPI with every operation of the API, none of the pages, and nothing loaded from elsewhere."""
    described = (await anyone.get("/api/v1/openapi.json")).json()
    assert described["openapi"].startswith("3.1")
    assert "/api/v1/devices/{device}/telemetry" in described["paths"]
    assert all(path.startswith("/api/v1/") for path in described["paths"])
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert (await anyone.get(path)).status_code == 404


def test_the_reference_names_every_call_and_no_other(app: FastAPI) -> None:
    """docs/reference/http-api.md against the routes that are served."""
    text = (Path(__file__).parents[2] / "docs/reference/http-api.md").read_text()
    written = set(re.findall(r"`(GET|POST|PATCH) (/api/v1/[^`?]+)`", text))
    served = {(method.upper(), path) for path, calls in app.openapi()["paths"].items() for method in calls}
    assert written == served
