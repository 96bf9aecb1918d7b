"""Which partition of the log holds a customer's records: Kafka's own rule, so that any other producer agrees.

The rule is that of Kafka's default partitioner: the murmur2 hash of the customer's name in UTF-8, without its sign, modulo the
number of partitions. Not here: the number of partitions, which is fixed when the topics are made.
"""

from __future__ import annotations

from functools import lru_cache

CUSTOMERS_KEPT_MAX = 100_000
"""Customers whose partition is cached: one computation takes microseconds, and one lookup is needed per reading."""


@lru_cache(maxsize=CUSTOMERS_KEPT_MAX)
def partition_of(customer: str, partitions: int) -> int:
    """The partition, of `partitions`, that holds the customer's records. Raises ValueError for fewer than one partition."""
    if partitions < 1:
        raise ValueError(f"{partitions} partitions: expected at least 1")
    if partitions == 1:
        return 0
    # Imported here: aiokafka takes a quarter of a second to load, which commands without Kafka need not spend.
    from aiokafka.partitioner import DefaultPartitioner

    return int(DefaultPartitioner()(customer.encode(), range(partitions), ()))
