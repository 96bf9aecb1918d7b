"""The champion: the version of a model in force, with the comparison by which it was promoted.

A registry may hold NAME/champion.toml beside the versions of a model; without one the newest shipped version is in force. An
installation's own registry takes precedence over the shipped one, but only by its champion.toml: other versions in it are challengers.
The file holds the hash of the model that was evaluated, and no other model is run. The comparison itself is in
evaluation/model_promotion.py.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config.toml.writer import to_toml
from models.cards import SHIPPED_REGISTRY, Card, model_dir, model_versions, read_card
from star.errors import ModelError, UsageError

CHAMPION_FILE = "champion.toml"


def champion_dir(name: str, own_registry: Path | None = None, shipped_registry: Path = SHIPPED_REGISTRY) -> Path:
    """The folder of the version in force: the champion of `own_registry`, else of `shipped_registry`, else the newest shipped.

    Raises ModelError where a champion.toml is malformed, or names a model that is missing or has another hash.
    """
    for registry in (own_registry, shipped_registry):
        champion = None if registry is None else read_champion(name, registry)
        if registry is not None and champion is not None:
            return _verified_champion(champion, name, registry, shipped_registry)
    return model_dir(name, shipped_registry)


def find_version(
    name: str, version: int, own_registry: Path | None = None, shipped_registry: Path = SHIPPED_REGISTRY
) -> Path:
    """The folder of a version in `own_registry`, else in `shipped_registry`. Raises ModelError where neither has it."""
    if own_registry is not None and (own_registry / name / str(version)).is_dir():
        return model_dir(name, own_registry, version)
    own_model = own_registry is not None and (own_registry / name).is_dir()
    if own_registry is not None and own_model and version not in model_versions(name, shipped_registry):
        return model_dir(name, own_registry, version)  # raises with the versions of the own registry
    return model_dir(name, shipped_registry, version)


def resolve_model(model: str | None, name: str, own_registry: Path | None = None) -> Path:
    """The folder of the model NAME@VERSION or NAME@VERSION:HASH, as receipts show it; None: the version of `name` in force.

    Raises UsageError for another notation, ModelError where there is no such version or its hash differs.
    """
    if model is None:
        return champion_dir(name, own_registry)
    given, _, rest = model.partition("@")
    number, _, digits = rest.partition(":")
    if given != name or not number.isdigit():
        raise UsageError(f"the model is {model!r}: expected {name}@VERSION, such as {name}@1")
    folder = find_version(name, int(number), own_registry)
    sha256 = read_card(folder)["sha256"]
    if not sha256.startswith(digits):
        raise ModelError(f"{folder}: has sha256 {sha256}: expected one that begins with {digits}")
    return folder


def read_champion(name: str, registry: Path) -> Card | None:
    """The champion.toml of a model in one registry; None where there is none. Raises ModelError where it is malformed."""
    path = registry / name / CHAMPION_FILE
    try:
        champion = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{path}: can't be read: {error}") from error
    for field, kind in (("version", int), ("sha256", str)):
        if not isinstance(champion.get(field), kind):
            raise ModelError(f"{path}: {field} is {champion.get(field)!r}: expected a {kind.__name__}")
    return champion


def write_champion(name: str, registry: Path, champion: Mapping[str, Any]) -> Path:
    """Writes champion.toml atomically and flushes it to disk. Raises ModelError where the registry can't be written."""
    path = registry / name / CHAMPION_FILE
    temporary = path.with_name(CHAMPION_FILE + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(to_toml(champion))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}: expected a registry that can be written") from error
    return path


def _verified_champion(champion: Card, name: str, registry: Path, shipped_registry: Path) -> Path:
    folder = find_version(name, champion["version"], registry, shipped_registry)
    sha256 = read_card(folder)["sha256"]
    if sha256 != champion["sha256"]:
        raise ModelError(
            f"{registry / name / CHAMPION_FILE}: version {champion['version']} was evaluated with sha256 "
            f"{champion['sha256']}, but {folder} has {sha256}: expected the model that was evaluated"
        )
    return folder
