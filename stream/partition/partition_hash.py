"""Which partition of the log a customer's records are in: Kafka's own rule, so that any other producer agrees.

The murmur2 hash of the customer's name as UTF-8, without its sign, modulo the number of partitions. Not here: how many
partitions there are; that is fixed when the topics are made.
"""

from __future__ import annotations

from functools import lru_cache

CUSTOMERS_KEPT_MAX = 100_000
"""Customers whose partition is remembered; computing it takes some microseconds."""

_WORD = 0xFFFFFFFF
_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995


def murmur2(data: bytes) -> int:
    """The 32-bit hash that Kafka's default partitioner uses (org.apache.kafka.common.utils.Utils.murmur2), as unsigned."""
    mixed = _SEED ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * _MULTIPLIER & _WORD
        word = (word ^ word >> 24) * _MULTIPLIER & _WORD
        mixed = (mixed * _MULTIPLIER & _WORD) ^ word
    if whole < len(data):
        mixed = (mixed ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _WORD
    mixed = (mixed ^ mixed >> 13) * _MULTIPLIER & _WORD
    return mixed ^ mixed >> 15


@lru_cache(maxsize=CUSTOMERS_KEPT_MAX)
def partition_of(customer: str, partitions: int) -> int:
    """The partition, of `partitions`, that the customer's records are in. Raises ValueError for no partition at all."""
    if partitions < 1:
        raise ValueError(f"{partitions} partitions: expected at least 1")
    return (murmur2(customer.encode()) & 0x7FFFFFFF) % partitions
