"""`starloop models list|show|train|evaluate|promote|shadow`: model registry, training, evaluation and promotion.

`evaluate run-out` evaluates the decisions based on the model in closed loops (evaluation/). Other models, and run-out with --offline,
are evaluated by their forecasts alone. `promote` compares challenger and champion in the same simulated worlds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from config.settings import Settings
from config.toml.writer import to_toml
from evaluation.closed_loop import EvaluationPlan, select_families
from evaluation.closed_loop import run_evaluation as closed_loop
from evaluation.scoring.docs_page import write_docs
from evaluation.scoring.text_tables import format_scores
from evaluation.worlds.scenarios import ITEMS_PER_SEED
from models.cards import SHIPPED_REGISTRY, Card, model_dir, model_names, model_versions, read_card, read_model
from models.champion import champion_dir, find_version
from models.train.trainers import trainer
from starloop.commands.modelling.promote import CLOSED_LOOP_MODEL
from starloop.commands.modelling.promote import command as promote
from starloop.commands.modelling.shadow import command as shadow

_registry = click.option(
    "--registry",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Model registry; its newest version is used by default.  [default: STARLOOP_MODELS_DIR and the shipped models]",
)
_version = click.option("--version", type=click.IntRange(min=1), help="Version.  [default: the promoted one]")
_data = click.option(
    "--data",
    "data_dir",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    envvar="STARLOOP_DATA",
    help="Folder with public data sets.  [default: simulated data only]",
)
_seed = click.option("--seed", type=click.IntRange(min=0), help="Random seed.  [default: set by the trainer]")
_quick = click.option("--quick", is_flag=True, help="Use a small part of the data, for a trial run.")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group()
def command() -> None:
    """List, train, evaluate and promote models."""


@command.command("list")
@_registry
@_json
def list_(registry: Path | None, as_json: bool) -> None:
    """List all versions of all models: name, version, hash, size, status and description."""
    own = Settings.read().models_dir if registry is None else registry
    rows = list(_list_versions(own))
    if as_json:
        _print_json({"models": rows})
        return
    for row in rows:
        size_kb = (row["bytes"] or 0) / 1000
        status = "in use" if row["in_force"] else ""
        name = f"{row['name']}@{row['version']}:{row['sha256'][:12]}"
        click.echo(f"{name}  {size_kb:.0f} kB  {status:8}  {row['what'] or ''}")


def _list_versions(own: Path | None) -> Iterator[Card]:
    for registry in dict.fromkeys((SHIPPED_REGISTRY, own or SHIPPED_REGISTRY)):
        for name in model_names(registry):
            promoted = champion_dir(name, own) if name in model_names() else None
            for version in model_versions(name, registry):
                folder = model_dir(name, registry, version)
                card = read_card(folder)
                fields = {field: card.get(field) for field in ("name", "version", "sha256", "bytes", "what")}
                yield {**fields, "in_force": folder == promoted, "folder": str(folder)}


def _model_folder(name: str, version: int | None, registry: Path | None) -> Path:
    """Folder of the version selected by the options: in the registry, else in the own and shipped registries."""
    if registry is not None:
        return model_dir(name, registry, version)
    own = Settings.read().models_dir
    return champion_dir(name, own) if version is None else find_version(name, version, own)


@command.command()
@click.argument("name")
@_version
@_registry
@_json
def show(name: str, version: int | None, registry: Path | None, as_json: bool) -> None:
    """Show the card of model NAME: data, metrics and limits. Fails if the model does not match its card."""
    folder = _model_folder(name, version, registry)
    card = read_card(folder)
    read_model(folder, card)
    if as_json:
        _print_json(card)
    else:
        click.echo(to_toml(card), nl=False)


@command.command()
@click.argument("name")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write the model to."
)
@_seed
@_data
@_quick
@_json
def train(name: str, out: Path, seed: int | None, data_dir: Path | None, quick: bool, as_json: bool) -> None:
    """Train model NAME from its seed, and write model.onnx and card.toml to --out. It takes minutes on one core.

    With --out MODELS/NAME/N it becomes version N in your own registry: a challenger for `promote`.
    """
    training = trainer(name)
    card = training.train(
        out, seed=training.SEED if seed is None else seed, data_dir=data_dir, quick=quick, report=_print_progress
    )
    if as_json:
        _print_json(card)
    else:
        click.echo(f"{out}: {card['name']}@{card['version']}:{card['sha256'][:12]}")
        _print_metrics(card["metrics"])


@command.command()
@click.argument("name")
@_version
@_registry
@click.option("--offline", is_flag=True, help="Evaluate the forecasts only, on simulated data; implied by --seed.")
@_seed
@_data
@click.option("--seeds", type=click.Choice(["dev", "test"]), default="dev", show_default=True,
              help="Development worlds, or held-out worlds for a final evaluation.")  # fmt: skip
@click.option("--seeds-count", type=click.IntRange(1, 1000), default=2, show_default=True, help="Number of seeds.")
@click.option("--family", "families", multiple=True, help="Scenario family; repeatable.  [default: all]")
@click.option("--traces", is_flag=True, help="Include families with real consumption from --data.")
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True, help="Parallel processes.")
@click.option("--write-docs", "docs", type=click.Path(path_type=Path, file_okay=False, exists=True),
              help="Folder docs/, in which to write explanation/evaluation.md and its figures.")  # fmt: skip
@_quick
@_json
def evaluate(
    name: str,
    version: int | None,
    registry: Path | None,
    offline: bool,
    seed: int | None,
    data_dir: Path | None,
    seeds: str,
    seeds_count: int,
    families: tuple[str, ...],
    traces: bool,
    processes: int,
    docs: Path | None,
    quick: bool,
    as_json: bool,
) -> None:
    """Evaluate model NAME: run-out by the cost of its decisions, compared with other policies in simulated scenarios.

    With --offline, and for all other models: coverage of the intervals and pinball loss on held-out data.
    """
    folder = _model_folder(name, version, registry)
    if name == CLOSED_LOOP_MODEL and not offline and seed is None:
        simulated, traced = select_families(families, data_dir, traces=traces)
        plan = EvaluationPlan(
            families=simulated,
            trace_families=traced,
            data_dir=data_dir,
            seed_set=seeds,
            seeds_count=1 if quick else seeds_count,
            items=4 if quick else ITEMS_PER_SEED,
            days=60 if quick else None,
            version=int(folder.name),
            registry=folder.parent.parent,
        )
        scores = closed_loop(plan, processes, _print_progress)
        if docs is not None:
            write_docs(scores, docs)
        if as_json:
            _print_json(scores)
        else:
            for line in format_scores(scores):
                click.echo(line)
        return
    training = trainer(name)
    metrics = training.evaluate(
        folder, seed=training.SEED + 1 if seed is None else seed, data_dir=data_dir, quick=quick, report=_print_progress
    )
    if as_json:
        _print_json({"name": name, "version": int(folder.name), "metrics": metrics})
    else:
        _print_metrics(metrics)


command.add_command(promote, "promote")
command.add_command(shadow, "shadow")


def _print_progress(line: str) -> None:
    click.echo(line, err=True)


def _print_json(body: Mapping[str, Any]) -> None:
    click.echo(json.dumps(body, ensure_ascii=False))


def _print_metrics(metrics: Mapping[str, Any], prefix: str = "") -> None:
    """One line per group of metrics; nested groups have joined names."""
    figures = {key: value for key, value in metrics.items() if not isinstance(value, Mapping)}
    if figures:
        click.echo(f"{prefix or 'all':34}" + "  ".join(f"{key} {value:g}" for key, value in figures.items()))
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            _print_metrics(value, f"{prefix}.{key}" if prefix else key)
