"""Version information: version, commit, and the models in use.

The version comes from the installed metadata. The commit comes from git in a checkout; a package has it in a file that
hatch_build.py writes with `git_commit`, which is why only the standard library is imported here.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

UNKNOWN = "unknown"
COMMIT_FILE = "commit.txt"
"""File beside this module, in built packages only."""
_GIT_S_MAX = 10.0
_DIGITS = 12


def git_commit(root: Path) -> str:
    """The commit checked out at `root`, with `-dirty` if a tracked file was changed; `unknown` outside a checkout."""
    if not (root / ".git").exists():
        return UNKNOWN
    # Git refuses a checkout of another owner. Who runs its code, such as a service user, trusts that owner already.
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
    """The commit of this code; `unknown` if it was not recorded."""
    try:
        return (package / COMMIT_FILE).read_text(encoding="utf-8").strip() or UNKNOWN
    except OSError:
        return git_commit(package.parent)


def description() -> str:
    """Two lines: version with commit, and the models in use as `name@version:hash`."""
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
