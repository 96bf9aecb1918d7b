"""The fleet file: from TOML to `Fleet` and, with the profiles, to `Catalogue`. Every mistake is reported, with its line.

The tables are config/fleet.py's; checks across tables are config/catalogue.py's.
"""

from __future__ import annotations

from pathlib import Path

from config.catalogue import Catalogue
from config.fleet import Fleet
from config.fleet_tables import TABLE_MODELS, parse_tables, validate_tables
from config.plugins import profile_dirs as plugin_profile_dirs
from config.profile_file import load_profiles
from config.profile_schema import Profile
from config.toml.reader import TomlDocument, read_toml
from config.validation import ValidationFinding, document_problems
from star.errors import ConfigError, Problem

USER_PROFILES_DIR = "profiles"
"""Folder beside a fleet file with profiles of the user's own."""


def load_fleet(path: Path) -> Fleet:
    """The fleet of a file, without checks across tables. Raises ConfigError with every problem."""
    document = read_toml(path, frozenset(TABLE_MODELS))
    tables = parse_tables(document.data)
    _raise_problems(document, tables.findings)
    return tables.fleet()


def load_catalogue(path: Path, *profile_dirs: Path) -> Catalogue:
    """The catalogue of a fleet file.

    Profiles are those that ship, those of plug-ins, of `profile_dirs`, and of the folder `profiles` beside the file; of
    several with one name the last counts. Raises ConfigError with every problem of all these files.
    """
    problems: list[Problem] = []
    profiles: dict[str, Profile] = {}
    try:
        profiles = load_profiles(*plugin_profile_dirs(), *profile_dirs, path.parent / USER_PROFILES_DIR)
    except ConfigError as error:
        problems.extend(error.problems)
        profiles = load_profiles()
    document = read_toml(path, frozenset(TABLE_MODELS))
    tables = parse_tables(document.data)
    catalogue, findings = validate_tables(tables, profiles)
    try:
        _raise_problems(document, findings)
    except ConfigError as error:
        problems.extend(error.problems)
    if problems or catalogue is None:
        raise ConfigError(problems)
    return catalogue


def _raise_problems(document: TomlDocument, findings: list[ValidationFinding]) -> None:
    problems = document_problems(document, findings)
    if not problems and not document.data:
        message = "is empty: expected [[customers]], [[devices]] and [[suppliers]]"
        problems.append(Problem(file=document.file, line=None, field="", message=message))
    if problems:
        raise ConfigError(problems)
