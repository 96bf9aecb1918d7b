"""`starloop models list|show|train|evaluate`: the model registry, and how its models are made again and judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from config.toml_text import to_toml
from models.cards import REGISTRY, model_dir, names, read_card, read_model
from models.train.trainers import trainer

_registry = click.option(
    "--registry",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=REGISTRY,
    help="The folder of models; default: those that ship.",
)
_version = click.option("--version", type=click.IntRange(min=1), help="Which version; default: the newest.")
_data = click.option(
    "--data",
    "data_dir",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    envvar="STARLOOP_DATA",
    help="A folder with public data sets, used where it has them; without it, simulated data alone.",
)
_seed = click.option("--seed", type=click.IntRange(min=0), help="Where chance begins; default: the trainer's own.")
_quick = click.option("--quick", is_flag=True, help="With a small part of the data: to try it out, not to use it.")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group()
def command() -> None:
    """The model registry: what ships, how good it is, and how to make it again."""


@command.command("list")
@_registry
@_json
def list_(registry: Path, as_json: bool) -> None:
    """Every model: name, version, hash, size, what it says."""
    cards = [read_card(model_dir(name, registry)) for name in names(registry)]
    if as_json:
        fields = ("name", "version", "sha256", "bytes", "what")
        _print_json({"models": [{field: card.get(field) for field in fields} for card in cards]})
        return
    for card in cards:
        size_kb = card.get("bytes", 0) / 1000
        click.echo(f"{card['name']}@{card['version']}:{card['sha256'][:12]}  {size_kb:.0f} kB  {card.get('what', '')}")


@command.command()
@click.argument("name")
@_version
@_registry
@_json
def show(name: str, version: int | None, registry: Path, as_json: bool) -> None:
    """A model's card: its data, metrics and limits. Fails where the model is not the one its card describes."""
    folder = model_dir(name, registry, version)
    card = read_card(folder)
    read_model(folder, card)
    if as_json:
        _print_json(card)
    else:
        click.echo(to_toml(card), nl=False)


@command.command()
@click.argument("name")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Where to write the model."
)
@_seed
@_data
@_quick
@_json
def train(name: str, out: Path, seed: int | None, data_dir: Path | None, quick: bool, as_json: bool) -> None:
    """Trains a model from its seed and writes model.onnx and card.toml into --out: minutes on one core."""
    made = trainer(name)
    card = made.train(out, seed=made.SEED if seed is None else seed, data_dir=data_dir, quick=quick, say=_say)
    if as_json:
        _print_json(card)
    else:
        click.echo(f"{out}: {card['name']}@{card['version']}:{card['sha256'][:12]}")
        _print_metrics(card["metrics"])


@command.command()
@click.argument("name")
@_version
@_registry
@_seed
@_data
@_quick
@_json
def evaluate(
    name: str,
    version: int | None,
    registry: Path,
    seed: int | None,
    data_dir: Path | None,
    quick: bool,
    as_json: bool,
) -> None:
    """Judges a model on data that it was not trained on: coverage of its intervals and pinball loss, by kind."""
    made = trainer(name)
    folder = model_dir(name, registry, version)
    metrics = made.evaluate(
        folder, seed=made.SEED + 1 if seed is None else seed, data_dir=data_dir, quick=quick, say=_say
    )
    if as_json:
        _print_json({"name": name, "version": int(folder.name), "metrics": metrics})
    else:
        _print_metrics(metrics)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _print_json(body: Mapping[str, Any]) -> None:
    click.echo(json.dumps(body, ensure_ascii=False))


def _print_metrics(metrics: Mapping[str, Any], prefix: str = "") -> None:
    """A line for each group of metrics, groups in groups with their names joined."""
    figures = {key: value for key, value in metrics.items() if not isinstance(value, Mapping)}
    if figures:
        click.echo(f"{prefix or 'all':34}" + "  ".join(f"{key} {value:g}" for key, value in figures.items()))
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            _print_metrics(value, f"{prefix}.{key}" if prefix else key)
