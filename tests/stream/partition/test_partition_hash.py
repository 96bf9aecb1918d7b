"""A customer's partition is the one that Kafka itself would choose."""

from __future__ import annotations

import random

import pytest
from aiokafka.partitioner import DefaultPartitioner

from stream.partition.partition_hash import partition_of


@pytest.mark.parametrize(
    ("customer", "signed_hash"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_the_partition_follows_the_vectors_of_kafka_s_own_tests(customer: str, signed_hash: int) -> None:
    """The hashes of Apache Kafka's UtilsTest, without their sign, modulo the partitions."""
    for partitions in (2, 7, 32, 1_000):
        assert partition_of(customer, partitions) == (signed_hash & 0x7FFFFFFF) % partitions


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
