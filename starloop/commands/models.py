"""`starloop models list|show|train|evaluate`: the model registry, and how its models are made again and judged.

`evaluate run-out` judges the decisions that rest on the model, in closed loops (starloop/evaluate/); other models, and run-out
with --offline, are judged by their forecasts alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from config.toml_text import to_toml
from models.cards import REGISTRY, model_dir, names, read_card, read_model
from models.train.trainers import trainer
from starloop.evaluate.evaluation import Plan, families_of
from starloop.evaluate.evaluation import evaluate as closed_loop
from starloop.evaluate.families import NAMES
from starloop.evaluate.lives import ITEMS
from starloop.evaluate.page import write_docs
from starloop.evaluate.tables import text

CLOSED_LOOP = "run-out"
"""The model whose decisions can be lived."""

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
@click.option("--offline", is_flag=True, help="The forecasts alone, on lives simulated from --seed, which implies it.")
@_seed
@_data
@click.option("--seeds", type=click.Choice(["dev", "test"]), default="dev", show_default=True,
              help="Worlds to build with, or held-out ones, to be looked at when all is done.")  # fmt: skip
@click.option("--seeds-count", type=click.IntRange(1, 1000), default=2, show_default=True, help="How many seeds.")
@click.option("--family", "families", multiple=True, help="A kind of trouble, any number of times; default: all.")
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True, help="Side by side.")
@click.option("--write-docs", "docs", type=click.Path(path_type=Path, file_okay=False, exists=True),
              help="A folder docs/, whose explanation/evaluation.md and figures are written.")  # fmt: skip
@_quick
@_json
def evaluate(
    name: str,
    version: int | None,
    registry: Path,
    offline: bool,
    seed: int | None,
    data_dir: Path | None,
    seeds: str,
    seeds_count: int,
    families: tuple[str, ...],
    processes: int,
    docs: Path | None,
    quick: bool,
    as_json: bool,
) -> None:
    """Judges a model: run-out by what its decisions cost, in worlds of many kinds of trouble beside other policies.

    With --offline, and all other models: coverage of the intervals and pinball loss, on data not trained on.
    """
    if name == CLOSED_LOOP and not offline and seed is None:
        plan = Plan(
            families=families_of(families, NAMES),
            seeds_of=seeds,
            seeds=1 if quick else seeds_count,
            items=4 if quick else ITEMS,
            days=60 if quick else None,
            version=version,
            registry=registry,
        )
        scores = closed_loop(plan, processes, _say)
        if docs is not None:
            write_docs(scores, docs)
        if as_json:
            _print_json(scores)
        else:
            for line in text(scores):
                click.echo(line)
        return
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
