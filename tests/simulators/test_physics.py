"""Devices with ground truth: withdrawals, refills and reports add up."""

from __future__ import annotations

import numpy as np
import pytest

from simulators.physics.demand import DemandKind, daily_use
from simulators.physics.device_kinds import DEVICE_FACTORIES, DeviceSite
from simulators.physics.devices import SensingMode, Sensor, SimulatedDevice, SimulatedSlot
from simulators.physics.draws import DrawStream
from simulators.physics.weather import daily_temperature_c
from star.times import DAY_MS, HOUR_MS

START_MS = 1_767_225_600_000


def tank(level: float = 500.0, rate: float = 10.0, *, spares: bool = False, noise: float = 0.0) -> SimulatedDevice:
    """A tank of 1,000 with a perfect gauge unless `noise` is given, read every six hours."""
    draws = DrawStream(np.random.default_rng(1), DemandKind.STEADY, rate, START_MS)
    sensor = Sensor(sensing=SensingMode.LEVEL, noise=noise)
    slot = SimulatedSlot(name="oil", capacity=1000.0, level=level, draws=draws, sensor=sensor, spares=spares)
    return SimulatedDevice(np.random.default_rng(2), [slot], START_MS, every_ms=6 * HOUR_MS)


@pytest.mark.parametrize("kind", list(DemandKind))
def test_every_kind_of_demand_is_finite_never_negative_and_about_one_a_day(kind: DemandKind) -> None:
    """On average over many homes and years."""
    use = daily_use(kind, np.random.default_rng(1), 300, 1500, 18_000)
    assert use.shape == (300, 1500)
    assert (use >= 0).all()
    assert 0.7 < use.mean() < 1.5


def test_heating_uses_more_on_cold_days() -> None:
    """Demand follows the given temperature."""
    cold, warm = np.full((1, 300), -5.0), np.full((1, 300), 20.0)
    used = [daily_use(DemandKind.HEATING, np.random.default_rng(1), 1, 300, 0, t).mean() for t in (cold, warm)]
    assert used[0] > 5 * used[1]


@pytest.mark.parametrize("unit", [None, 1.0])
def test_draws_do_not_depend_on_how_far_ahead_they_are_read(unit: float | None) -> None:
    """Computing the true time to empty does not change the truth."""
    one, other = (
        DrawStream(np.random.default_rng(3), DemandKind.WEEKLY, 4.0, START_MS + 12345, unit=unit) for _ in range(2)
    )
    other.count_until(START_MS + 1500 * DAY_MS)
    count = one.count_until(START_MS + 200 * DAY_MS)
    assert one.at_ms[:count] == other.at_ms[:count]
    assert one.amount[:count] == other.amount[:count]
    assert one.at_ms == sorted(one.at_ms)
    assert one.at_ms[0] > START_MS + 12345


def test_whole_units_add_up_to_the_demand() -> None:
    """Remainders are carried from day to day."""
    draws = DrawStream(np.random.default_rng(4), DemandKind.EVENTS, 3.0, START_MS, unit=1.0)
    years = 8
    assert draws.cumulative_use_at(START_MS + years * 365 * DAY_MS) / (years * 365) == pytest.approx(3.0, rel=0.35)


def test_a_level_falls_by_withdrawals_and_rises_by_what_fits() -> None:
    """The stock balance holds, overflow included."""
    device = tank(level=900.0)
    device.advance(START_MS + 20 * DAY_MS)
    used = device.slots["oil"].counter
    assert device.level("oil") == pytest.approx(900.0 - used)
    before = device.level("oil")
    assert device.refill("oil", 500.0) == pytest.approx(500.0 - (1000.0 - before))
    assert device.level("oil") == 1000.0


def test_spare_packs_are_stored_unopened_and_the_gauge_does_not_show_them() -> None:
    """The true level counts them; the sensor shows at most the capacity."""
    device = tank(level=900.0, spares=True)
    device.advance(START_MS + DAY_MS)
    assert device.refill("oil", 1000.0) == 0.0
    assert device.level("oil") > 1000.0
    assert all(values["oil"] == 1000.0 for _, values in device.advance(START_MS + 2 * DAY_MS))


def test_run_outs_and_empty_days_are_counted() -> None:
    """With the unmet demand; the true time to empty was right."""
    device = tank(level=100.0)
    device.advance(START_MS + HOUR_MS)
    runs_out_ms = device.now_ms + device.days_to_empty("oil", 100.0) * DAY_MS
    device.advance(START_MS + 30 * DAY_MS)
    slot = device.slots["oil"]
    assert slot.empty_since_ms == pytest.approx(runs_out_ms)
    assert slot.run_outs == 1
    assert slot.unmet > 0
    assert device.empty_days("oil") == pytest.approx((START_MS + 30 * DAY_MS - runs_out_ms) / DAY_MS)
    device.refill("oil", 300.0)
    assert slot.empty_since_ms is None
    device.advance(START_MS + 31 * DAY_MS)
    assert device.empty_days("oil") == pytest.approx((START_MS + 30 * DAY_MS - runs_out_ms) / DAY_MS)


def test_reports_are_made_at_their_interval_in_order() -> None:
    """In whatever steps the device is advanced."""
    whole = tank(noise=3.0).advance(START_MS + 50 * DAY_MS)
    pieces = []
    device = tank(noise=3.0)
    for hour in range(7, 50 * 24 + 7, 7):
        pieces += device.advance(START_MS + hour * HOUR_MS)
    assert [r for r in pieces if r[0] <= START_MS + 50 * DAY_MS] == whole
    assert len(whole) == 200


@pytest.mark.parametrize("kind", list(DEVICE_FACTORIES))
def test_every_kind_of_device_reports_the_truth_within_its_accuracy(kind: str) -> None:
    """Counters add up to the consumption; gauges are close to the level."""
    rng = np.random.default_rng(11)
    weather = daily_temperature_c(np.random.default_rng(1), 1, 400, START_MS // DAY_MS)[0]
    device = DEVICE_FACTORIES[kind](DeviceSite(rng=rng, start_ms=START_MS, temperature_c=weather))
    reports = device.advance(START_MS + 40 * DAY_MS)
    assert [at for at, _ in reports] == sorted(at for at, _ in reports)
    for name, slot in device.slots.items():
        values = [values for _, values in reports]
        if slot.sensor.sensing is SensingMode.LEVEL:
            seen = values[-1][name]
            assert abs(seen - slot.level) <= 0.05 * slot.capacity + 6 * slot.sensor.noise
        elif slot.sensor.sensing is SensingMode.TOTAL:
            assert values[-1][f"{name}_total"] == pytest.approx(slot.counter, abs=0.1 * slot.capacity)
        else:
            assert sum(v.get(f"{name}_used", 0.0) for v in values) == pytest.approx(slot.counter)
