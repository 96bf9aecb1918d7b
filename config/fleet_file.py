"""The fleet file: TOML to `Fleet`, and with the profiles to `Catalogue`. Every mistake is reported at once, with its line."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import ValidationError

from config.fleet import Fleet
from config.profile_file import load_profiles
from config.resolve import Catalogue, resolve
from star.errors import ConfigError, Problem


def load_fleet(path: Path) -> Fleet:
    """The fleet of a file. Raises ConfigError with every problem."""
    try:
        return Fleet.model_validate(tomllib.loads(path.read_text()))
    except (OSError, ValidationError, tomllib.TOMLDecodeError) as error:
        raise ConfigError([Problem(file=str(path), line=None, field="", message=str(error))]) from error


def load_catalogue(path: Path, *profile_dirs: Path) -> Catalogue:
    """The catalogue of a fleet file, with the shipped profiles and those of `profile_dirs`. Raises ConfigError."""
    return resolve(load_fleet(path), load_profiles(*profile_dirs), source=str(path))
