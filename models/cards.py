"""Model cards: what is in a model's card.toml - its hash, shapes, data, metrics and limits - read and written.

Not here: loading the model itself (onnx_scorer.py) or making one (train/).
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Any

from config.toml.writer import to_toml
from star.errors import ModelError

SHIPPED_REGISTRY = Path(__file__).parent / "registry"
"""The models that ship: NAME/VERSION/{model.onnx, card.toml}."""
CARD_FILE = "card.toml"
MODEL_FILE = "model.onnx"

Card = dict[str, Any]


def model_versions(name: str, registry_dir: Path = SHIPPED_REGISTRY) -> list[int]:
    """The versions of model `name`, ascending. Raises ModelError where there is none."""
    folder = registry_dir / name
    found = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []
    if not found:
        known = ", ".join(model_names(registry_dir)) or "none"
        raise ModelError(f"{folder}: there is no model {name!r} here: expected one of {known}")
    return found


def model_names(registry_dir: Path = SHIPPED_REGISTRY) -> list[str]:
    """The names of all models of a registry that have a version there, sorted."""
    if not registry_dir.is_dir():
        return []
    folders = [path for path in registry_dir.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))]
    return sorted(folder.name for folder in folders if any(one.name.isdigit() for one in folder.iterdir()))


def model_dir(name: str, registry_dir: Path = SHIPPED_REGISTRY, version: int | None = None) -> Path:
    """The folder of a version of model `name`: the newest, unless one is named. Raises ModelError where it is missing."""
    found = model_versions(name, registry_dir)
    if version is not None and version not in found:
        raise ModelError(
            f"{registry_dir / name}: has no version {version}: expected one of {', '.join(map(str, found))}"
        )
    return registry_dir / name / str(found[-1] if version is None else version)


def read_card(folder: Path) -> Card:
    """The card of the model in `folder`. Raises ModelError where it is missing or can't be read."""
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
    """The bytes of the model in `folder`, checked against its card. Raises ModelError where they do not fit."""
    path = folder / MODEL_FILE
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: is missing: expected the model with sha256 {card['sha256']}") from None
    except OSError as error:
        raise ModelError(f"{path}: can't be read: {error}") from error
    found = hashlib.sha256(body).hexdigest()
    if found != card["sha256"]:
        raise ModelError(f"{path}: has sha256 {found}: expected {card['sha256']}, as its card says")
    return body


def write_model(folder: Path, body: bytes, card: Card) -> Card:
    """Writes model and card into `folder`; gives the card with its hash and size filled in.

    A folder NAME/N of a registry makes it version N; elsewhere the version is the card's own.
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
