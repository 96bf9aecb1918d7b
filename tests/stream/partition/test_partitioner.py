"""Records find the partition of their customer, and a partition knows its own part of the fleet wherever it is."""

from __future__ import annotations

import json

import numpy as np
import pytest

from config.catalogue import resolve_catalogue
from config.fleet import Customer, Device, Experience, Fleet, Slot, Supplier
from config.profile_file import load_profiles
from reactor.store.memory import MemoryMetricRegistry
from star.errors import ConfigError
from star.records import FleetChange, Request, SupplierTerms, Tick, decode
from star.repeat import Outcome
from star.sense import Readings
from starloop.roles.ingest_gateway import check_device_moves
from stream.partition.fleet_shard import FleetShard, catalogue_shard
from stream.partition.partition_hash import partition_of
from stream.partition.partitioner import Partitioner
from stream.topics import INPUT

PARTITIONS = 8
DEVICES = 30


@pytest.fixture
def names() -> MemoryMetricRegistry:
    names = MemoryMetricRegistry()
    for number in range(DEVICES):
        names.number(f"{device(number)}/level")
    return names


def device(number: int) -> str:
    return sorted(CATALOGUE.devices)[number]


CATALOGUE = resolve_catalogue(
    Fleet(
        customers=tuple(Customer(id=f"c{n}", experience=Experience.AUTO) for n in range(DEVICES // 2)),
        devices=tuple(
            Device(
                id=f"tank-{n}",
                customer=f"c{n % (DEVICES // 2)}",
                profile="level-tank",
                slots={"level": Slot(capacity=100.0, suppliers=("acme",))},
            )
            for n in range(DEVICES)
        ),
        suppliers=(Supplier(id="acme", price=1.0),),
    ),
    load_profiles(),
)


def readings(names: MemoryMetricRegistry, devices: list[int]) -> Readings:
    rows = [
        (names.number(f"{device(n)}/level"), 1_000 + at, 1_000 + at, float(at), -1, -1) for at, n in enumerate(devices)
    ]
    return Readings.from_rows(rows)


def test_readings_go_to_their_customers_partitions_in_their_order(names: MemoryMetricRegistry) -> None:
    """Each reading is in exactly one record, of the partition of its device's customer, in the order of arrival there."""
    sorter = Partitioner(PARTITIONS, names, lambda: CATALOGUE)
    dice = np.random.default_rng(3)
    batch = readings(names, dice.integers(0, DEVICES, 500).tolist())
    seen: list[float] = []
    for entry in sorter.entries([batch]):
        part = decode(entry.value or b"")
        assert isinstance(part, Readings)
        assert (np.diff(part.value) > 0).all()
        for number in part.metric.tolist():
            customer = CATALOGUE.devices[names.name(number).split("/")[0]].customer
            assert entry.partition == partition_of(customer, PARTITIONS)
        seen += part.value.tolist()
    assert sorted(seen) == batch.value.tolist()


def test_what_concerns_all_goes_to_all_and_what_concerns_one_to_one(names: MemoryMetricRegistry) -> None:
    """Terms, changes and ticks are in every partition; a request and an outcome in that of their item's customer."""
    sorter = Partitioner(PARTITIONS, names, lambda: CATALOGUE)
    for record in (
        Tick(at_ms=1),
        SupplierTerms(at_ms=1, supplier="acme", price=2.0),
        FleetChange(at_ms=1, tables="{}"),
    ):
        assert [entry.partition for entry in sorter.entries([record])] == list(range(PARTITIONS))
    home = partition_of(CATALOGUE.devices[device(7)].customer, PARTITIONS)
    asked = Request(at_ms=1, id="r", item=f"{device(7)}/level")
    said = Outcome(at_ms=1, arrived_ms=1, id="o", result="delivered", reaction=f"{device(7)}/level/1/order/1")
    for record in (asked, said):
        assert [(entry.topic, entry.partition) for entry in sorter.entries([record])] == [(INPUT, home)]


def test_a_partition_has_its_own_customers_and_every_customer_has_one_partition() -> None:
    """The parts of all partitions together are the fleet, and none has another's items."""
    parts = [catalogue_shard(CATALOGUE, lambda c, p=p: partition_of(c, PARTITIONS) == p) for p in range(PARTITIONS)]  # type: ignore[misc]
    assert sorted(key for part in parts for key in part.slots) == sorted(CATALOGUE.slots)
    assert sorted(key for part in parts for key in part.customers) == sorted(CATALOGUE.customers)


def test_a_partition_that_moves_takes_the_changes_of_its_fleet_along() -> None:
    """What is restored from the checkpoint is what was in force at its offset; later changes come again from the log."""
    part = FleetShard(CATALOGUE, None)
    customer = sorted(CATALOGUE.customers)[0]

    def tables(zone: str) -> str:
        return json.dumps({"customers": [{"id": customer, "timezone": zone}]})

    part.apply_change(10, tables("Europe/Paris"))
    part.apply_change(20, tables("Asia/Tokyo"))
    block = part.drain_dirty()
    assert part.drain_dirty() is None
    moved = FleetShard(CATALOGUE, None)
    assert moved.restore(block, included=15).customers[customer].timezone == "Europe/Paris"
    assert moved.apply_change(20, tables("Asia/Tokyo")).customers[customer].timezone == "Asia/Tokyo"
    assert moved.restore(None, included=15).customers[customer] == CATALOGUE.customers[customer]


def test_a_device_is_not_given_to_a_customer_of_another_partition() -> None:
    """What is known of it would stay behind, so it is refused with what to do; within a partition it may move."""
    devices = CATALOGUE.devices
    far = next(c for c in CATALOGUE.customers if partition_of(c, PARTITIONS) != partition_of("c0", PARTITIONS))
    near = next(c for c in CATALOGUE.customers if c != "c0" and partition_of(c, 2) == partition_of("c0", 2))
    moved = {"devices": [{"id": "tank-0", "customer": far}, {"id": "tank-1", "customer": devices["tank-1"].customer}]}
    with pytest.raises(ConfigError, match=r"devices.tank-0.customer: is .*expected a device with a new id"):
        check_device_moves(CATALOGUE, moved, PARTITIONS)
    check_device_moves(CATALOGUE, moved, 1)
    check_device_moves(CATALOGUE, {"devices": [{"id": "tank-0", "customer": near}]}, 2)
