"""A customer's partition is the one that Kafka itself would choose."""

from __future__ import annotations

import random

import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as reference

from stream.partition.partition_hash import murmur2, partition_of


@pytest.mark.parametrize(
    ("data", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_that_of_kafka_s_own_tests(data: bytes, signed: int) -> None:
    """The vectors of Apache Kafka's UtilsTest."""
    assert murmur2(data) == signed & 0xFFFFFFFF


def test_any_customer_is_where_kafka_s_partitioner_puts_them() -> None:
    """Names of every length and script, any number of partitions: equal to aiokafka's partitioner, key by key."""
    rng = random.Random(5)
    choose = DefaultPartitioner()
    for _ in range(3_000):
        data = rng.randbytes(rng.randrange(70))
        assert murmur2(data) == reference(data)
        customer = "".join(rng.choice("abcéü漢🙂-0123") for _ in range(rng.randrange(20)))
        partitions = rng.randrange(1, 200)
        wanted = choose(customer.encode(), list(range(partitions)), [])
        assert partition_of(customer, partitions) == wanted


def test_no_partition_at_all_is_a_mistake() -> None:
    """The number is named."""
    with pytest.raises(ValueError, match="0 partitions"):
        partition_of("anna", 0)
