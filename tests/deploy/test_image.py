"""What the image is made of, as BuildKit's own parser reads it, and how a container of it is asked whether it lives."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from operations.observability.health import health_app, serve_health
from operations.observability.metrics import Meters
from tests.deploy.deploy_tools import DEPLOY, ROOT, deploy_check
from tests.test_house import ROOMS

HEALTHCHECK = DEPLOY / "healthcheck.py"


def instructions() -> list[list[dict[str, str]]]:
    """Those of each stage."""
    found: list[list[dict[str, str]]] = deploy_check("containerfile", DEPLOY / "Containerfile")
    return found


def test_the_image_holds_every_room_and_only_locked_packages() -> None:
    """All rooms are copied, packages come with their hashes, and the package itself brings no other."""
    build, _ = instructions()
    copied = {one["Text"].split()[1] for one in build if one["Name"] == "COPY"}
    assert copied >= {*ROOMS, "requirements.lock", "pyproject.toml"}
    ran = " ".join(one["Text"] for one in build if one["Name"] == "RUN")
    assert "--no-deps --require-hashes -r requirements.lock" in ran
    assert "--no-deps --require-hashes -r requirements-build.lock" in ran
    assert "--no-build-isolation --no-deps ." in ran
    assert "--no-deps /wheel/*.whl" in ran


def test_the_engine_is_sent_what_the_image_copies_and_no_more() -> None:
    """.dockerignore lets in exactly what COPY names: no tests, no data, no secrets."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        name
        for stage in instructions()
        for one in stage
        if one["Name"] == "COPY" and "--from" not in one["Text"]
        for name in one["Text"].split()[1:-1]
    }
    assert let_in == copied
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_runs_as_nobody_in_particular() -> None:
    """No root, a health check, starloop as its entry, SIGTERM to stop, the base pinned by a tag."""
    _, image = instructions()
    by_name = {one["Name"]: one["Text"] for one in image}
    assert by_name["USER"] == "USER 10001:10001"
    assert "starloop" in by_name["ENTRYPOINT"]
    assert "healthcheck.py" in by_name["HEALTHCHECK"]
    assert "SIGTERM" in by_name["STOPSIGNAL"]
    assert re.search(r"^ARG PYTHON_IMAGE=\S+/python:3\.11-slim-\w+$", (DEPLOY / "Containerfile").read_text(), re.M)


def lives(**environment: str) -> bool:
    """What the health check says, run as an engine runs it."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("STARLOOP_")}
    done = subprocess.run([sys.executable, "-I", HEALTHCHECK], env={**known, **environment}, check=False, timeout=30)
    return done.returncode == 0


async def test_the_health_check_asks_the_role() -> None:
    """A role that answers lives, wherever it listens; where nothing answers it does not."""
    async with serve_health(health_app(Meters("stream"), {}), "0.0.0.0", 0) as port:
        given = {"STARLOOP_HEALTH_HOST": "0.0.0.0", "STARLOOP_HEALTH_PORT": str(port), "STARLOOP_HTTP_PORT": "9"}
        assert await asyncio.to_thread(lives, **given)
    assert not await asyncio.to_thread(lives, **given)


@pytest.fixture
def data() -> Iterator[Path]:
    """A folder of the image's user, where that one can get at it."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder = Path(tempfile.mkdtemp(prefix="starloop-image-"))
    os.chown(folder, 10001, 10001)
    yield folder
    shutil.rmtree(folder)


def test_the_image_may_be_read_only_and_its_user_anybody(data: Path) -> None:
    """As a user who may write to the data folder and /tmp only, with no capability, the service starts, lives and stops."""
    user = ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
    starloop = [sys.executable, "-m", "starloop"]
    if subprocess.run([*user, *starloop, "--help"], cwd=data, capture_output=True, check=False).returncode != 0:
        pytest.skip("another user can't read this checkout")
    fleet = DEPLOY / "fleet" / "fleet.toml"
    environment = {**os.environ, "STARLOOP_MQTT_PORT": "0", "STARLOOP_HTTP_PORT": "0", "STARLOOP_DATA_DIR": str(data)}
    with subprocess.Popen(
        [*user, *starloop, "up", "--fleet", fleet],
        cwd=data, env={**environment, "HOME": str(data)}, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        ready = process.stdout.readline()
        http = re.search(r"http 127\.0\.0\.1:(\d+)", ready)
        try:
            assert http is not None, ready
            assert lives(STARLOOP_HTTP_PORT=http[1], STARLOOP_HEALTH_PORT="9")
        finally:
            process.terminate()
        assert process.wait(timeout=40) == 0
