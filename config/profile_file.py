"""Profiles from files: those that ship in config/profiles/, then the user's own folders, which may replace them by name.

A profile is one TOML file named after it. Every mistake in every file is reported at once; what a profile is made of is
config/profiles.py's.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import ValidationError

from config.profiles import Profile
from star.errors import ConfigError, Problem

SHIPPED = Path(__file__).parent / "profiles"
"""The folder of the profiles that ship: plain data beside the module of the same name, which wins on import."""


def load_profiles(*user_dirs: Path) -> dict[str, Profile]:
    """Every profile by name, a later folder's in place of an earlier one's. Raises ConfigError with every problem."""
    profiles: dict[str, Profile] = {}
    problems: list[Problem] = []
    for folder in (SHIPPED, *user_dirs):
        for path in sorted(folder.glob("*.toml")):
            try:
                profile = Profile.model_validate(tomllib.loads(path.read_text()))
            except (ValidationError, tomllib.TOMLDecodeError) as error:
                problems.append(Problem(file=str(path), line=None, field="", message=str(error)))
                continue
            profiles[profile.name] = profile
    if problems:
        raise ConfigError(problems)
    return profiles
