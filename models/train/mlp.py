"""A small quantile network in numpy: fitted by Adam on the pinball loss, then calibrated on held-out data.

Two hidden layers; the head outputs the middle quantile and the gaps between neighbours as softplus, so quantiles can't cross.
It is not a framework: it has exactly the operations that onnx_export.py exports.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

ProgressCallback = Callable[[int, int, float], None]
"""Receives (epoch, epochs, mean loss) after each epoch."""

PREDICTION_ROWS_MAX = 8192
"""Rows passed through the network at once: bounds the memory of a prediction to a few MiB."""
_GAP_MIN = 0.02  # smallest calibrated gap, as a share of the fitted one: keeps quantiles distinct


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """n examples. x: (n, k) features; y: (n,) targets; censored: (n,) whether the truth is only known to be at least y; weight: (n,)."""

    x: Float32
    y: Float64
    censored: Bools
    weight: Float64

    def select(self, rows: NDArray[np.intp] | Bools) -> Batch:
        """The examples at `rows`."""
        return Batch(x=self.x[rows], y=self.y[rows], censored=self.censored[rows], weight=self.weight[rows])


def data_sha256(*batches: Batch) -> str:
    """SHA-256 of the training data, for the card: of each array its field name, type and shape, then its values."""
    digest = hashlib.sha256()
    for batch in batches:
        for field in fields(batch):
            values = np.ascontiguousarray(getattr(batch, field.name))
            digest.update(f"{field.name} {values.dtype.str} {values.shape}\n".encode())
            digest.update(values.tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Hyperparameters. The learning rate falls from rate_high to rate_low along half a cosine.

    equal_quantile_weight: weights the levels so that those near 0 and 1, on which decisions rest but which hardly affect the pinball
    loss, count like the others.
    """

    hidden: int = 64
    epochs: int = 30
    batch_rows: int = 1024
    rate_high: float = 4e-3
    rate_low: float = 2e-5
    equal_quantile_weight: bool = False
    seed: int = 1


def gaps_matrix(quantiles: int) -> Float32:
    """(quantiles - 1, quantiles) contribution of each gap to each quantile. Gaps run outwards: down from the middle, then up."""
    middle = quantiles // 2
    matrix = np.zeros((quantiles - 1, quantiles), dtype=np.float32)
    for gap in range(middle):
        matrix[gap, : middle - gap] = -1.0
    for gap in range(quantiles - 1 - middle):
        matrix[middle + gap, middle + 1 + gap :] = 1.0
    return matrix


class QuantileNet:
    """A network from features to ascending quantiles. Their number is odd, and the middle one is the median."""

    def __init__(self, x: Float32, y: Float64, quantiles: tuple[float, ...], plan: TrainingConfig) -> None:
        """x, y: training data, for the scaling of the inputs and the initial output. plan: sizes and seed."""
        rng = np.random.default_rng(plan.seed)
        self.levels = np.array(quantiles, dtype=np.float32)
        counts = (
            1.0 / np.sqrt(self.levels * (1.0 - self.levels)) if plan.equal_quantile_weight else np.ones(len(quantiles))
        )
        self.level_weights = (counts / counts.mean()).astype(np.float32)
        self.mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.spread = np.maximum(x.std(axis=0, dtype=np.float64), 1e-3).astype(np.float32)
        self.matrix = gaps_matrix(len(quantiles))
        sizes = (x.shape[1], plan.hidden, plan.hidden, len(quantiles))
        self.weights = [
            rng.normal(0.0, np.sqrt(2.0 / rows), (rows, columns)).astype(np.float32)
            for rows, columns in pairwise(sizes)
        ]
        self.weights[-1] *= np.float32(0.3)
        self.biases = [np.zeros(size, dtype=np.float32) for size in sizes[1:]]
        self.biases[-1][:] = _softplus_inverse(0.25 * float(np.std(y)) + 1e-3)
        self.biases[-1][0] = np.median(y)
        self.shift = np.float32(0.0)
        self.stretch = np.ones(len(quantiles) - 1, dtype=np.float32)

    def predict(self, x: Float32) -> Float32:
        """(n, quantiles), calibrated if `calibrate` was called."""
        parts = [chunk[-1] for chunk in self._forward_chunks(x)]
        return np.concatenate(parts) if parts else np.empty((0, len(self.levels)), dtype=np.float32)

    def _forward_chunks(self, x: Float32) -> Iterator[tuple[Float32, ...]]:
        for start in range(0, len(x), PREDICTION_ROWS_MAX):
            yield self._forward(x[start : start + PREDICTION_ROWS_MAX])

    def _forward(self, x: Float32) -> tuple[Float32, ...]:
        scaled = (x - self.mean) / self.spread
        first = np.maximum(scaled @ self.weights[0] + self.biases[0], 0.0)
        second = np.maximum(first @ self.weights[1] + self.biases[1], 0.0)
        head = second @ self.weights[2] + self.biases[2]
        gaps = np.logaddexp(0.0, head[:, 1:])
        out = (head[:, :1] + self.shift) + (gaps * self.stretch) @ self.matrix
        return scaled, first, second, head, gaps, out

    def fit(self, data: Batch, plan: TrainingConfig, report: ProgressCallback | None = None) -> None:
        """Fits the network by Adam. Deterministic for one build of numpy on one kind of processor."""
        rng = np.random.default_rng(plan.seed + 1)
        parameters = [*self.weights, *self.biases]
        first, second = [np.zeros_like(p) for p in parameters], [np.zeros_like(p) for p in parameters]
        steps_in_epoch = -(-len(data.y) // plan.batch_rows)
        steps, step = plan.epochs * steps_in_epoch, 0
        for epoch in range(plan.epochs):
            order = rng.permutation(len(data.y))
            losses = 0.0
            for start in range(0, len(order), plan.batch_rows):
                loss, gradients = self._gradients(data.select(order[start : start + plan.batch_rows]))
                losses += loss
                step += 1
                rate = plan.rate_low + (plan.rate_high - plan.rate_low) * 0.5 * (1.0 + np.cos(np.pi * step / steps))
                for p, g, m, v in zip(parameters, gradients, first, second, strict=True):
                    m += 0.1 * (g - m)
                    v += 0.001 * (g * g - v)
                    p -= np.float32(rate / (1.0 - 0.9**step)) * m / (np.sqrt(v / (1.0 - 0.999**step)) + 1e-8)
            if report is not None:
                report(epoch + 1, plan.epochs, losses / steps_in_epoch)

    def _gradients(self, batch: Batch) -> tuple[float, list[Float32]]:
        scaled, first, second, head, _, out = self._forward(batch.x)
        y = batch.y[:, None].astype(np.float32)
        weight = (batch.weight / batch.weight.sum()).astype(np.float32)[:, None]
        below = y < out
        slope = np.where(below, 1.0 - self.levels, -self.levels)
        slope[batch.censored] = np.where(below[batch.censored], 0.0, -self.levels)
        slope *= self.level_weights
        loss = float((slope * (out - y) * weight).sum())
        d_out = (slope * weight).astype(np.float32)
        d_head = np.empty_like(head)
        d_head[:, 0] = d_out.sum(axis=1)
        d_head[:, 1:] = (d_out @ self.matrix.T) * self.stretch / (1.0 + np.exp(-head[:, 1:]))
        d_second = (d_head @ self.weights[2].T) * (second > 0)
        d_first = (d_second @ self.weights[1].T) * (first > 0)
        weights = [scaled.T @ d_first, first.T @ d_second, second.T @ d_head]
        return loss, [*weights, d_first.sum(axis=0), d_second.sum(axis=0), d_head.sum(axis=0)]

    def calibrate(self, data: Batch) -> None:
        """Shifts the median and stretches each gap so that every quantile covers its share of `data`.

        From the middle outwards, each stretch is the quantile of the ratios that would just cover the truth: split conformal
        prediction with one factor per level, which keeps quantiles in order.
        """
        self.shift, self.stretch = np.float32(0.0), np.ones_like(self.stretch)
        head, gaps = self._forward_head(data.x)
        truth = np.where(data.censored, np.inf, data.y)
        middle = len(self.levels) // 2
        self.shift = np.float32(_weighted_quantile(truth - head, data.weight, float(self.levels[middle])))
        for sign, places in ((-1.0, range(middle)), (1.0, range(middle, len(self.levels) - 1))):
            inner = head + float(self.shift)
            for gap in places:
                at = middle - 1 - gap if sign < 0 else gap + 1
                level = float(self.levels[at])
                ratio = sign * (truth - inner) / np.maximum(gaps[:, gap], 1e-9)
                stretch = _weighted_quantile(ratio, data.weight, 1.0 - level if sign < 0 else level)
                self.stretch[gap] = max(stretch, _GAP_MIN) if np.isfinite(stretch) else 1.0
                inner = inner + sign * float(self.stretch[gap]) * gaps[:, gap]

    def average_calibration(self, others: Sequence[QuantileNet]) -> None:
        """Sets the calibration to the mean of that of `others`, each calibrated on data that it was not fitted on."""
        self.shift = np.float32(np.mean([other.shift for other in others]))
        self.stretch = np.mean([other.stretch for other in others], axis=0).astype(np.float32)

    def _forward_head(self, x: Float32) -> tuple[Float64, Float64]:
        heads, gaps = [], []
        for *_, head, gap, _ in self._forward_chunks(x):
            heads.append(head[:, 0].astype(np.float64))
            gaps.append(gap.astype(np.float64))
        return np.concatenate(heads), np.concatenate(gaps)


def _softplus_inverse(value: float) -> float:
    return float(np.log(np.expm1(value)))


def _weighted_quantile(values: Float64, weight: Float64, level: float) -> float:
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weight[order])
    index = int(np.searchsorted(cumulative, level * cumulative[-1]))
    return float(values[order[min(index, len(order) - 1)]])
