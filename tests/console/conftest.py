"""A neighbourhood, a console on it, and people signed in to that console: the owner, an operator, Maria and the office."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from console.access.accounts import hash_password
from console.app import create_app, create_console
from console.page_context import Console
from tests.support.console.fake_backend import FakeBackend

BASE = "http://console.example"
PASSWORD = "correct horse"
MARIA_TOKEN = "marias-token"
OPS_TOKEN = "operators-token"


@pytest.fixture(scope="session")
def password_hash() -> str:
    return hash_password(PASSWORD)


@pytest.fixture(scope="session")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The read model of the neighbourhood, made once and copied for each test."""
    folder = tmp_path_factory.mktemp("past")
    FakeBackend(folder, days=30).close()
    return folder / "console.db"


@pytest.fixture
def world(tmp_path: Path, past: Path) -> Iterator[FakeBackend]:
    shutil.copy(past, tmp_path / "console.db")
    made = FakeBackend(tmp_path)
    yield made
    made.close()


@pytest.fixture
def console(world: FakeBackend, tmp_path: Path, password_hash: str) -> Iterator[Console]:
    (tmp_path / "users.toml").write_text(
        f"""
[[users]]
name = "maria"
customer = "maria"
password = "{password_hash}"
token_sha256 = "{hashlib.sha256(MARIA_TOKEN.encode()).hexdigest()}"

[[users]]
name = "office"
customer = "harbour"
password = "{password_hash}"

[[users]]
name = "ops"
password = "{password_hash}"
token_sha256 = "{hashlib.sha256(OPS_TOKEN.encode()).hexdigest()}"
"""
    )
    made = create_console(world, tmp_path)
    yield made
    made.sessions.close()


@pytest.fixture
def app(console: Console) -> FastAPI:
    return create_app(console)


@pytest.fixture
async def anyone(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that is not signed in; it says where its forms come from, as browsers do."""
    async with browser(app) as client:
        yield client


def browser(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=BASE, headers={"Sec-Fetch-Site": "same-origin"})


@pytest.fixture
def signed_in(app: FastAPI, console: Console) -> Callable[[str], httpx.AsyncClient]:
    """Makes a browser signed in as a user of the users file."""

    def made(name: str) -> httpx.AsyncClient:
        account = console.users.find(name)
        assert account is not None
        client = browser(app)
        client.cookies.set(console.sessions.cookie, console.sessions.start(account))
        return client

    return made


@pytest.fixture
async def owner(anyone: httpx.AsyncClient, console: Console) -> httpx.AsyncClient:
    """A browser signed in by a printed link."""
    answer = await anyone.get(f"/login?token={console.sessions.create_link()}")
    assert answer.status_code == 303
    return anyone


@pytest.fixture
async def maria(signed_in: Callable[[str], httpx.AsyncClient]) -> AsyncIterator[httpx.AsyncClient]:
    """Maria's own browser."""
    async with signed_in("maria") as client:
        yield client
