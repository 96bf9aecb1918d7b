"""A customer's partition is the one that Kafka itself would choose."""

from __future__ import annotations

import random

import pytest
from aiokafka.partitioner import DefaultPartitioner

from stream.partition.partition_hash import partition_of


@pytest.mark.parametrize(
    ("customer", "signed"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
@pytest.mark.parametrize("partitions", [1, 2, 7, 32, 1_000])
def test_a_customer_s_partition_follows_kafka_s_own_hash(customer: str, signed: int, partitions: int) -> None:
    """The hashes of Apache Kafka's UtilsTest, without their sign, modulo the number of partitions."""
    assert partition_of(customer, partitions) == (signed & 0x7FFFFFFF) % partitions


def test_any_customer_is_where_kafka_s_partitioner_puts_them() -> None:
    """Names of every length and script, any number of partitions: as aiokafka's partitioner, key by key."""
    rng = random.Random(5)
    choose = DefaultPartitioner()
    for _ in range(3_000):
        customer = "".join(rng.choice("abcéü漢🙂-0123") for _ in range(rng.randrange(20)))
        partitions = rng.randrange(1, 200)
        assert partition_of(customer, partitions) == choose(customer.encode(), list(range(partitions)), [])


def test_no_partition_at_all_is_a_mistake() -> None:
    """The number is named."""
    with pytest.raises(ValueError, match="0 partitions"):
        partition_of("anna", 0)
