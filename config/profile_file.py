"""Profiles from files: those that ship in config/profiles/, then other folders, which may replace them by name.

A profile is one TOML file with its name. Every mistake of every file is reported; the tables are config/profile_schema.py's.
"""

from __future__ import annotations

from pathlib import Path

from config.profile_schema import Profile
from config.toml.reader import read_toml
from config.validation import ValidationFinding, document_problems, format_value, validate_table
from star.errors import ConfigError, Problem

SHIPPED_PROFILES_DIR = Path(__file__).parent / "profiles"
"""Folder of the profiles that ship."""


def load_profiles(*user_dirs: Path) -> dict[str, Profile]:
    """Every profile by name. Of several with one name the last folder's counts; a folder that does not exist has none.

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
