"""Model cards: reading and writing a model's card.toml, which holds its hash, shapes, training data, metrics and limits.

Loading a model is in onnx_scorer.py, training in train/.
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Any

from config.toml.writer import to_toml
from star.errors import ModelError

SHIPPED_REGISTRY = Path(__file__).parent / "registry"
"""The registry of shipped models: NAME/VERSION/{model.onnx, card.toml}."""
CARD_FILE = "card.toml"
MODEL_FILE = "model.onnx"

Card = dict[str, Any]


def model_versions(name: str, registry_dir: Path = SHIPPED_REGISTRY) -> list[int]:
    """The versions of model `name`, ascending. Raises ModelError where there is none."""
    folder = registry_dir / name
    versions = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []
    if not versions:
        known = ", ".join(model_names(registry_dir)) or "none"
        raise ModelError(f"{folder}: there is no model {name!r} here: expected one of {known}")
    return versions


def model_names(registry_dir: Path = SHIPPED_REGISTRY) -> list[str]:
    """The names of all models with a version in the registry, sorted."""
    if not registry_dir.is_dir():
        return []
    folders = [path for path in registry_dir.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))]
    return sorted(folder.name for folder in folders if any(version.name.isdigit() for version in folder.iterdir()))


def model_dir(name: str, registry_dir: Path = SHIPPED_REGISTRY, version: int | None = None) -> Path:
    """The folder of a version of model `name`; None: the newest. Raises ModelError where it is missing."""
    versions = model_versions(name, registry_dir)
    if version is not None and version not in versions:
        raise ModelError(
            f"{registry_dir / name}: has no version {version}: expected one of {', '.join(map(str, versions))}"
        )
    return registry_dir / name / str(versions[-1] if version is None else version)


def read_card(folder: Path) -> Card:
    """The card of the model in `folder`. Raises ModelError where it is missing or malformed."""
    path = folder / CARD_FILE
    try:
        card = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path}: is missing: expected the model's card") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{path}: can't be read: {error}") from error
    for field, kind in (("name", str), ("version", int), ("sha256", str)):
        if not isinstance(card.get(field), kind):
            raise ModelError(f"{path}: {field} is {card.get(field)!r}: expected a {kind.__name__}")
    return card


def read_model(folder: Path, card: Card) -> bytes:
    """The bytes of the model in `folder`. Raises ModelError where they are missing or their hash is not the card's."""
    path = folder / MODEL_FILE
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: is missing: expected the model with sha256 {card['sha256']}") from None
    except OSError as error:
        raise ModelError(f"{path}: can't be read: {error}") from error
    digest = hashlib.sha256(body).hexdigest()
    if digest != card["sha256"]:
        raise ModelError(f"{path}: has sha256 {digest}: expected {card['sha256']}, as in its card")
    return body


def write_model(folder: Path, body: bytes, card: Card) -> Card:
    """Writes model and card into `folder`; the card with hash and size filled in.

    A folder NAME/N, as in a registry, sets version N; elsewhere the version is the card's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbered = folder.name.isdigit() and folder.parent.name == card["name"]
    head: Card = {
        "name": card["name"],
        "version": int(folder.name) if numbered else card["version"],
        "sha256": hashlib.sha256(body).hexdigest(),
        "bytes": len(body),
    }
    full = head | {key: value for key, value in card.items() if key not in head}
    (folder / MODEL_FILE).write_bytes(body)
    (folder / CARD_FILE).write_text(to_toml(full), encoding="utf-8")
    return full
