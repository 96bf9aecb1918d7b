"""Training of the run-out model, which forecasts the time until a level is used up as quantiles.

Reproducible from its seeds, in about two minutes on one core. Redistributable household data is added where it is available
(real_consumption.py); the card records whether it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from models.cards import MODEL_FILE, Card, write_model
from models.features import FEATURE_NAMES, FEATURES_COUNT
from models.onnx_scorer import OnnxScorer, load_scorer
from models.train.forecast_metrics import compute_metrics
from models.train.mlp import QuantileNet, TrainingConfig, data_sha256
from models.train.onnx_export import check_parity, to_onnx
from models.train.real_consumption import load_real_consumption
from models.train.run_out_examples import Examples, simulate_examples
from models.train.trainers import Progress
from star.analyse import QUANTILES

NAME = "run-out"
VERSION = 2
SEED = 20_260_301
HOMES_PER_KIND = 2_400
EXAMPLES_PER_HOME = 24
HOMES_TESTED = 200
COMPOUND_DEMAND_SHARE = 0.2
"""Share of training homes with two kinds of demand at once, as real demand is less stationary than a single kind."""
EPOCHS = 30


def train(
    out: Path, *, seed: int = SEED, data_dir: Path | None = None, quick: bool = False, report: Progress = print
) -> Card:
    """Trains the model and writes `out`/model.onnx and `out`/card.toml; the card.

    data_dir: folder of real data sets, used as far as it has them. quick: a twentieth of the data, for tests. Raises ModelError where
    the exported model differs from the trained one.
    """
    homes, epochs = (HOMES_PER_KIND // 20, 6) if quick else (HOMES_PER_KIND, EPOCHS)
    report(f"simulating {homes} homes of each kind of demand")
    examples = simulate_examples(seed, homes, EXAMPLES_PER_HOME, COMPOUND_DEMAND_SHARE)
    real = load_real_consumption(seed, data_dir)
    part = split_by_home(examples, seed)
    fitted = examples.select(part == 0)
    if real.fitted is not None:
        fitted = Examples.concatenate([fitted, real.fitted])
    plan = TrainingConfig(epochs=epochs, equal_quantile_weight=True, seed=seed)
    batch = fitted.batch()
    net = QuantileNet(batch.x, batch.y, QUANTILES, plan)
    report(f"fitting on {len(fitted)} examples")
    net.fit(batch, plan, lambda epoch, epochs, loss: report(f"epoch {epoch}/{epochs} loss {loss:.4f}"))
    calibrated = examples.select(part == 1).batch()
    net.calibrate(calibrated)

    held_out = examples.select(part == 2)
    body = to_onnx(net, NAME)
    card = _card(seed, net, fitted, real.names)
    card["training"]["data_sha256"] = data_sha256(batch, calibrated)
    write_model(out, body, card)
    scorer = OnnxScorer(body, card | {"sha256": "0" * 64}, out / MODEL_FILE)
    card["training"]["parity_max"] = check_parity(net, scorer.score(held_out.x), held_out.x)
    card["metrics"] = compute_metrics(held_out, scorer.score(held_out.x))
    if real.held_out is not None:
        card["metrics"]["real_held_out"] = compute_metrics(real.held_out, scorer.score(real.held_out.x))["all"]
    return write_model(out, body, card)


def evaluate(
    folder: Path,
    *,
    seed: int = SEED + 1,
    data_dir: Path | None = None,
    quick: bool = False,
    report: Progress = print,
) -> dict[str, Any]:
    """Metrics of the model in `folder` on series simulated from another seed, and on real consumption held out of training."""
    scorer = load_scorer(NAME, folder.parent.parent, int(folder.name))
    homes = HOMES_TESTED // 10 if quick else HOMES_TESTED
    report(f"simulating {homes} homes of each kind of demand from seed {seed}")
    examples = simulate_examples(seed, homes, EXAMPLES_PER_HOME)
    metrics = compute_metrics(examples, scorer.score(examples.x))
    real = load_real_consumption(seed, data_dir)
    if real.held_out is not None:
        metrics["real_held_out"] = compute_metrics(real.held_out, scorer.score(real.held_out.x))["all"]
    return metrics


def split_by_home(examples: Examples, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(n,) 0: fit, 1: calibrate, 2: test; all examples of a home have the same."""
    homes, index = np.unique(examples.home, return_inverse=True)
    draw = np.random.default_rng([seed, 99]).random(len(homes))
    return np.digitize(draw, (0.7, 0.85)).astype(np.int64)[index]


def _card(seed: int, net: QuantileNet, fitted: Examples, sources: tuple[str, ...]) -> Card:
    return {
        "name": NAME,
        "version": VERSION,
        "what": "The time until a level is used up, as quantiles in spreads of a first guess (models/features.py).",
        "licence": "Apache-2.0",
        "input": {"columns": FEATURES_COUNT, "names": list(FEATURE_NAMES)},
        "output": {"columns": len(QUANTILES), "quantiles": list(QUANTILES)},
        "training": {
            "command": "starloop models train run-out --out DIR",
            "seed": seed,
            "examples": len(fitted),
            "simulated": "simulators/physics/demand.py, ten kinds of demand",
            "real": list(sources) or ["none"],
            "parameters": int(sum(w.size for w in (*net.weights, *net.biases))),
        },
        "limits": {
            "history": "Sees eight weeks: the coming season is not in its input, so yearly swings widen long forecasts only.",
            "units": "Free of units; levels of 0.02 days' use and less count as that much.",
            "horizon": "Trained up to about 900 days; longer times are extrapolated in proportion to the level.",
            "people": "Says nothing about persons; one item's use is judged from its own history.",
        },
    }
