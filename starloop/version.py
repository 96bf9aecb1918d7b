"""What this Starloop is: its version, the commit that it was made from, and the models in force.

The version is pyproject.toml's, as the installed metadata have it. The commit is git's in a checkout; a package holds it in a
file that hatch_build.py writes with `git_commit` below, which is why nothing but the standard library is imported here.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

UNKNOWN = "unknown"
COMMIT_FILE = "commit.txt"
"""Beside this module, in a package only."""
_GIT_S_MAX = 10.0
_DIGITS = 12


def git_commit(root: Path) -> str:
    """The commit checked out at `root`, with `-dirty` where a tracked file was changed; `unknown` where that is no checkout."""
    if not (root / ".git").exists():
        return UNKNOWN
    # Whoever runs the code of a checkout trusts its owner already, such as a service with a user of its own.
    command = [
        "git",
        "-c",
        f"safe.directory={root}",
        "describe",
        "--always",
        f"--abbrev={_DIGITS}",
        "--exclude=*",
        "--dirty",
    ]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, check=True, timeout=_GIT_S_MAX
        )
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN
    return done.stdout.strip() or UNKNOWN


def commit(package: Path = Path(__file__).parent) -> str:
    """The commit that this code was made from; `unknown` where nobody recorded it."""
    try:
        return (package / COMMIT_FILE).read_text(encoding="utf-8").strip() or UNKNOWN
    except OSError:
        return git_commit(package.parent)


def description() -> str:
    """Version and commit in one line, the models in force in another, each `name@version:hash`."""
    from operations.observability.metrics import starloop_version

    return f"starloop {starloop_version()} (commit {commit()})\nmodels: {_models()}"


def _models() -> str:
    from config.settings import Settings
    from models.cards import model_names, read_card
    from models.champion import champion_dir
    from star.errors import StarloopError

    try:
        own = Settings.read().models_dir
        cards = [read_card(champion_dir(name, own)) for name in model_names()]
    except StarloopError as error:
        return str(error)
    return ", ".join(f"{card['name']}@{card['version']}:{card['sha256'][:_DIGITS]}" for card in cards)
