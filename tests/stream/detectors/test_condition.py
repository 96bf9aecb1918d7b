"""Scores: one a message, from the device's own past, silent while it is learned, loud when it is left."""

from __future__ import annotations

import numpy as np

from config.fleet import Device
from star.sense import Readings
from tests.stream.analysis_bench import AnalysisBench, at_day_ms

PUMP = Device(id="pump", customer="maria", profile="generic-monitor")
WARM_UP = 300


def message(bench: AnalysisBench, minute: int, values: dict[str, float]) -> Readings:
    """One message with several values."""
    now = at_day_ms(minute / 1440)
    return Readings.from_rows([(bench.names.number(f"pump/{k}"), now, now, v, -1, -1) for k, v in values.items()])


def scores(kind: str, *, begins: int = 900, length: int = 1_200, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(anomaly, alert) of a device with three values, whose behaviour changes at `begins` in a way `kind`."""
    rng = np.random.default_rng(seed)
    bench = AnalysisBench(PUMP)
    out = []
    for n in range(length):
        wave = np.sin(2 * np.pi * n / 60)
        values = {"a": 10 + wave + rng.normal() * 0.1, "b": 50 + rng.normal(), "c": 3.0}
        if n >= begins:
            if kind == "shift":
                values["b"] += 8
            elif kind == "noise":
                values["b"] += rng.normal() * 6
            elif kind == "flat":
                values["a"] += 3
        bench.ingest(message(bench, n, values))
        out += bench.analysis.drain_scores()
    assert len(out) == length
    assert all(s.item == "condition" and s.device == "pump" and s.remaining_life is None for s in out)
    return np.array([s.anomaly for s in out]), np.array([s.alert for s in out])


def test_nothing_is_said_while_the_past_is_learned() -> None:
    """The profile's warm-up has anomaly 0 and no alert, even where something happens in it."""
    anomaly, alert = scores("shift", begins=150, length=WARM_UP)
    assert not anomaly.any()
    assert not alert.any()


def test_a_usual_day_raises_no_alert() -> None:
    """Noise and waves of the kind that the device always had are no anomaly."""
    for seed in range(3):
        anomaly, alert = scores("nothing", seed=seed)
        assert alert.sum() == 0
        assert anomaly[WARM_UP:].mean() < 0.15
        assert ((anomaly >= 0) & (anomaly <= 1)).all()


def test_a_change_is_an_alert_soon_after_it_begins() -> None:
    """A shift, a new noise and a shifted wave raise the alarm within twenty readings."""
    for kind in ("shift", "noise", "flat"):
        anomaly, alert = scores(kind)
        assert alert[900:920].any(), kind
        assert anomaly[900:920].max() > 0.8, kind


def test_scores_do_not_wait_for_ticks_and_do_not_depend_on_them() -> None:
    """Asked for after every record or once at the end, the scores are the same, in the order of arrival."""
    rng = np.random.default_rng(2)
    rows = [{"a": float(rng.normal()), "b": float(rng.normal())} for _ in range(400)]
    often, once = AnalysisBench(PUMP), AnalysisBench(PUMP)
    each = []
    for n, values in enumerate(rows):
        often.ingest(message(often, n, values))
        each += often.analysis.drain_scores()
        if n % 7 == 0:
            often.tick(n / 1440)
        once.ingest(message(once, n, values))
    assert once.analysis.drain_scores() == each
    assert [score.at_ms for score in each] == [at_day_ms(n / 1440) for n in range(400)]


def test_a_turbofan_shows_its_remaining_life_from_the_second_cycle_on() -> None:
    """Quantiles in order, none at the first reading, and fewer cycles left for an engine that runs hot."""
    bench = AnalysisBench(Device(id="jet", customer="maria", profile="turbofan"))
    rng = np.random.default_rng(4)
    new = [518.67, 642.0, 1585.0, 1400.0, 14.62, 21.61, 554.0, 2388.0, 9050.0, 1.3, 47.2]
    new += [522.0, 2388.0, 8138.0, 8.4, 0.03, 391.0, 2388.0, 100.0, 39.0, 23.4]
    last = []
    for worn in (0.0, 1.0):
        for cycle in range(60):
            wear = worn * cycle / 60
            values = {"setting_1": 0.0, "setting_2": 0.0, "setting_3": 100.0}
            values |= {f"s_{n + 1}": v for n, v in enumerate(new)}
            values["s_4"] += 35 * wear + rng.normal()
            values["s_11"] += 1.0 * wear + rng.normal() * 0.1
            values["s_15"] += 0.12 * wear
            now = at_day_ms(cycle + 100 * worn)
            rows = [(bench.names.number(f"jet/{k}"), now, now, v, -1, -1) for k, v in values.items()]
            bench.ingest(Readings.from_rows(rows))
            (score,) = bench.analysis.drain_scores()
            if cycle == 0 and not worn:
                assert score.remaining_life is None
            else:
                assert score.remaining_life is not None
                low, median, high = score.remaining_life
                assert 0.0 <= low <= median <= high
        last.append(median)
    assert last[1] < 0.7 * last[0]
