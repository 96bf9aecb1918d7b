"""Profiles from files: those that ship in config/profiles/, then the user's own folders, which may replace them by name.

A profile is one TOML file named after it. Every mistake in every file is reported at once; what a profile is made of is
config/profile_schema.py's.
"""

from __future__ import annotations

from pathlib import Path

from config.profile_schema import Profile
from config.toml.reader import read_toml
from config.validation import ValidationFinding, document_problems, format_value, validate_table
from star.errors import ConfigError, Problem

SHIPPED_PROFILES_DIR = Path(__file__).parent / "profiles"
"""The folder of the profiles that ship: plain data beside the module of the same name, which wins on import."""


def load_profiles(*user_dirs: Path) -> dict[str, Profile]:
    """Every profile by name, a later folder's in place of an earlier one's; a folder that is not there has none.

    Raises ConfigError with every problem of every file.
    """
    profiles: dict[str, Profile] = {}
    problems: list[Problem] = []
    for folder in (SHIPPED_PROFILES_DIR, *user_dirs):
        for path in sorted(folder.glob("*.toml")):
            try:
                profile = load_profile(path)
            except ConfigError as error:
                problems.extend(error.problems)
            else:
                profiles[profile.name] = profile
    if problems:
        raise ConfigError(problems)
    return profiles


def load_profile(path: Path) -> Profile:
    """The profile of one file. Raises ConfigError with every problem, each with its line."""
    document = read_toml(path)
    checked = validate_table(Profile, document.data)
    findings = [*checked.findings]
    named = document.data.get("name")
    if isinstance(named, str) and named != path.stem:
        message = (
            f"is {format_value(named)}: expected {format_value(path.stem)}, as the file is named after the profile"
        )
        findings.append(ValidationFinding(path=("name",), message=message))
    problems = document_problems(document, findings)
    if problems or checked.value is None:
        raise ConfigError(problems)
    return checked.value
