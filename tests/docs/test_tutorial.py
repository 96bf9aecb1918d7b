"""The tutorial: its commands work from an empty folder in the order they stand, and its pictures are small and real."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from starloop.cli import COMMANDS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "tutorial"
PAGE = FOLDER / "README.md"
PICTURE_BYTES_MAX = 150_000
SECONDS_MAX = 240
_PNG = b"\x89PNG\r\n\x1a\n"


def blocks(language: str) -> list[str]:
    """The page's code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def commands() -> list[str]:
    """The page's console commands, each with the lines that go on with it."""
    return [one.strip() for block in blocks("console") for one in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]


def test_a_newcomer_s_first_tank_is_ordered_for_delivered_and_replayed(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """Every command but `make demo`, as it stands, at ports that are free here; the answers are those on the page."""
    assert commands()[0] == "make demo"
    text = "\n".join(commands()[1:])
    mqtt, http = str(free_port()), str(free_port())
    text = text.replace("1883", mqtt).replace("8080", http).replace("oil 20", f"oil 20 {mqtt}")
    (tmp_path / "fleet.toml").write_text(blocks("toml")[0])
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, command in (("starloop", "-m starloop "), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command}"$@"\n')
        (programs / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STARLOOP_")}
    with subprocess.Popen(
        ["bash", "-euc", text],
        cwd=tmp_path, env={**environment, "PYTHONPATH": str(ROOT)}, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            said, errors = process.communicate(timeout=SECONDS_MAX)
        finally:
            with contextlib.suppress(ProcessLookupError):  # what a command that failed left behind
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said[-2_000:] + errors[-2_000:]
    shown = blocks("text")[1].strip()
    assert shown in said, said
    assert "520 litres" in said
    assert said.count("starloop.order.requested") == 3, said  # heard, in the receipt, replayed


def test_the_demo_says_what_the_page_shows() -> None:
    """The words of its first two lines are those in the code."""
    source = inspect.getsource(importlib.import_module(COMMANDS["demo"]))
    assert "starloop is ready: console " in source
    assert blocks("text")[0].count("starloop is ready: console http://127.0.0.1:8080/login?token=") == 1


def test_every_picture_is_shown_small_and_of_one_width() -> None:
    """PNG files under 150 kB; each is on the page with a text for those who don't see it, and none is left over."""
    shown = dict(re.findall(r"!\[(.+)\]\((\S+\.png)\)", PAGE.read_text()))
    pictures = sorted(FOLDER.glob("*.png"))
    assert sorted(shown.values()) == [path.name for path in pictures]
    for path in pictures:
        start = path.read_bytes()[:24]
        assert start.startswith(_PNG), path.name
        assert struct.unpack(">I", start[16:20]) == (1000,), path.name
        assert path.stat().st_size < PICTURE_BYTES_MAX, path.name
