"""Training of the turbofan's remaining-useful-life model: cycles left until failure, as quantiles, from C-MAPSS (CC0).

There are few engines and the readings of one are alike, so calibration and metrics come from five-fold cross-validation by whole
engines: each fold's network is calibrated on engines that it was not fitted on, and the shipped network, fitted on all, takes the
mean of the folds' calibrations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.cards import MODEL_FILE, Card, write_model
from models.onnx_scorer import OnnxScorer, load_scorer
from models.pinball import pinball_loss
from models.remaining_useful_life import (
    LIFE_FEATURES_COUNT,
    LIFE_QUANTILES,
    SCALING_METADATA_KEY,
    Scaling,
    remaining_life,
)
from models.train.mlp import Batch, Float32, QuantileNet, TrainingConfig, data_sha256
from models.train.onnx_export import check_parity, to_onnx
from models.train.trainers import Progress
from models.train.turbofan_data import DATA_SETS, FOLDER, Engines, features_of, read_engines, read_test, scaling_of

NAME = "turbofan-rul"
VERSION = 1
SEED = 20_260_302
FOLDS = 5
PLAN = TrainingConfig(hidden=64, epochs=7, batch_rows=512, rate_high=2e-3)
TEST_SETS = ("FD001", "FD003")
"""Data sets whose truncated test engines and true remaining lives are used for testing; never fitted."""

Float64 = NDArray[np.float64]


def train(
    out: Path, *, seed: int = SEED, data_dir: Path | None = None, quick: bool = False, report: Progress = print
) -> Card:
    """Trains the model and writes `out`/model.onnx and `out`/card.toml; the card. Raises UsageError without the data.

    data_dir: folder of data sets. quick: a tenth of the engines, for tests.
    """
    engines = read_engines(data_dir)
    if quick:
        engines = engines.select(engines.engine % 10 == 0)
    scaling = scaling_of(engines)
    x = features_of(engines, scaling)
    fold = np.random.default_rng([seed, 1]).integers(0, FOLDS, int(engines.engine.max()) + 1)[engines.engine]
    nets = [_fit(engines, x, fold != number, seed + number, report) for number in range(FOLDS)]
    for number, net in enumerate(nets):
        net.calibrate(_batch(engines, x, fold == number))
    left = _out_of_fold(nets, x, fold)
    net = _fit(engines, x, np.ones(len(x), dtype=np.bool_), seed, report)
    net.average_calibration(nets)

    body = to_onnx(net, NAME, {SCALING_METADATA_KEY: scaling.to_json()})
    card = _card(seed, engines, net)
    card["training"]["data_sha256"] = data_sha256(_batch(engines, x, np.ones(len(x), dtype=np.bool_)))
    card["metrics"] = _fold_metrics(engines, left)
    write_model(out, body, card)
    scorer = OnnxScorer(body, card | {"sha256": "0" * 64}, out / MODEL_FILE)
    card["training"]["parity_max"] = check_parity(net, scorer.score(x), x)
    if data_dir is not None:
        card["metrics"] |= _test_metrics(scorer, data_dir)
    return write_model(out, body, card)


def evaluate(
    folder: Path,
    *,
    seed: int = SEED,
    data_dir: Path | None = None,
    quick: bool = False,
    report: Progress = print,
) -> dict[str, Any]:
    """Metrics of the model in `folder` on the public test engines, each truncated before its failure."""
    report(f"reading the test engines of {' and '.join(TEST_SETS)}")
    return _test_metrics(load_scorer(NAME, folder.parent.parent, int(folder.name)), data_dir)


def _fit(engines: Engines, x: Float32, rows: NDArray[np.bool_], seed: int, report: Progress) -> QuantileNet:
    batch = _batch(engines, x, rows)
    plan = TrainingConfig(
        hidden=PLAN.hidden, epochs=PLAN.epochs, batch_rows=PLAN.batch_rows, rate_high=PLAN.rate_high, seed=seed
    )
    net = QuantileNet(batch.x, batch.y, LIFE_QUANTILES, plan)
    net.fit(batch, plan)
    report(f"fitted on {len(batch.y)} readings of {len(np.unique(engines.engine[rows]))} engines")
    return net


def _batch(engines: Engines, x: Float32, rows: NDArray[np.bool_]) -> Batch:
    left = engines.cycles_left[rows]
    return Batch(x=x[rows], y=np.sqrt(left), censored=np.zeros(len(left), dtype=np.bool_), weight=np.ones(len(left)))


def _out_of_fold(nets: list[QuantileNet], x: Float32, fold: NDArray[np.int64]) -> Float64:
    """(n, 3) cycles left, of each engine by the network not fitted on it, with the mean calibration of the others."""
    left = np.empty((len(x), len(LIFE_QUANTILES)))
    calibrations = [(net.shift, net.stretch) for net in nets]
    for number, net in enumerate(nets):
        net.average_calibration([other for other in nets if other is not net])
        left[fold == number] = remaining_life(net.predict(x[fold == number]))
        net.shift, net.stretch = calibrations[number]
    return left


def _fold_metrics(engines: Engines, left: Float64) -> dict[str, Any]:
    """Metrics overall, in the last 125 cycles, and by data set, from the second reading on, as in serving."""
    served = engines.cycle >= 2
    metrics: dict[str, Any] = {"all": _metric_row(engines.cycles_left[served], left[served])}
    near = served & (engines.cycles_left < 125)
    metrics["last_125_cycles"] = _metric_row(engines.cycles_left[near], left[near])
    metrics["by_set"] = {
        name: _metric_row(engines.cycles_left[rows], left[rows])
        for number, name in enumerate(DATA_SETS)
        if (rows := served & (engines.data_set == number)).any()
    }
    return metrics


def _metric_row(truth: Float64, left: Float64) -> dict[str, float]:
    return {
        "readings": len(truth),
        "covered_5_95": round(float(((truth >= left[:, 0]) & (truth <= left[:, 2])).mean()), 4),
        "below_5": round(float((truth < left[:, 0]).mean()), 4),
        "pinball_cycles": round(float(pinball_loss(left, truth, LIFE_QUANTILES).mean()), 3),
        "rmse_cycles": round(float(np.sqrt(((left[:, 1] - truth) ** 2).mean())), 2),
    }


def _test_metrics(scorer: OnnxScorer, data_dir: Path | None) -> dict[str, Any]:
    """Metrics on the public test engines, at all readings and at the last one of each."""
    scaling = Scaling.from_metadata(scorer.metadata)
    metrics = {}
    for name in TEST_SETS:
        engines = read_test(data_dir, name)
        left = remaining_life(scorer.score(features_of(engines, scaling)))
        last = np.append(np.diff(engines.engine) != 0, True)
        served = engines.cycle >= 2
        metrics[f"test_{name}"] = _metric_row(engines.cycles_left[served], left[served])
        metrics[f"test_{name}_last"] = _metric_row(engines.cycles_left[last], left[last])
    return metrics


def _card(seed: int, engines: Engines, net: QuantileNet) -> Card:
    return {
        "name": NAME,
        "version": VERSION,
        "what": "Cycles left in a turbofan's life, as quantiles of their square root.",
        "licence": "Apache-2.0",
        "input": {
            "columns": LIFE_FEATURES_COUNT,
            "made_by": "models/remaining_useful_life.py: life_step, life_features",
        },
        "output": {"columns": len(LIFE_QUANTILES), "quantiles": list(LIFE_QUANTILES)},
        "training": {
            "command": f"starloop models train {NAME} --data DIR --out DIR",
            "seed": seed,
            "data": f"NASA C-MAPSS {', '.join(DATA_SETS)} training sets (CC0), {FOLDER}",
            "engines": len(np.unique(engines.engine)),
            "examples": len(engines.cycles_left),
            "folds": FOLDS,
            "parameters": int(sum(w.size for w in (*net.weights, *net.biases))),
        },
        "limits": {
            "where": "Simulated engines at six operating points; other engines need a model of their own.",
            "metrics": "Of folds: by nets that never saw the engine; test_*: the net that ships, on public test engines.",
            "early": "An engine that shows no wear yet can only be given the spread of all lives.",
            "use": "Advice for maintenance, never a ground for flying on.",
        },
    }
