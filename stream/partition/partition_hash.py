"""The partition of a customer's records: the one that Kafka's default partitioner chooses, so that any other producer agrees.

It is the murmur2 hash of the customer's name in UTF-8, without its sign, modulo the number of partitions, which is fixed when
the topics are made.
"""

from __future__ import annotations

from functools import lru_cache

CUSTOMERS_KEPT_MAX = 100_000
"""Customers whose partition is remembered, about 10 MB: computing it takes some microseconds."""


def murmur2(data: bytes) -> int:
    """The 32-bit hash of Kafka's default partitioner, unsigned."""
    # Imported only where it is used: an embedded service and a replay start without a Kafka client.
    from aiokafka.partitioner import murmur2 as hash_of

    hashed: int = hash_of(data)
    return hashed


@lru_cache(maxsize=CUSTOMERS_KEPT_MAX)
def partition_of(customer: str, partitions: int) -> int:
    """The partition, of `partitions`, that the customer's records are in. Raises ValueError for fewer than 1."""
    if partitions < 1:
        raise ValueError(f"{partitions} partitions: expected at least 1")
    return 0 if partitions == 1 else (murmur2(customer.encode()) & 0x7FFFFFFF) % partitions
