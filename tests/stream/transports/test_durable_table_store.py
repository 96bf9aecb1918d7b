"""The table's store: standby replicas are kept, and of a shard the newest value counts, also after a late write."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from faust.types import TP

from stream.state.checkpoint import is_stale, shard_key, shards_of_partition, with_offset
from stream.transports.faust_overrides.durable_table_store import DurableTableStore


class StoreWithoutApp(DurableTableStore):
    """The store of a table without an app."""

    def __init__(self, table: Any) -> None:
        self.table = table
        self.data = {}
        self._key_partition = {}
        self._changelog_offsets = {}


def same(value: Any) -> Any:
    """A key or value without its serialiser."""
    return value


def change(offset: int, key: bytes, value: bytes | None) -> Any:
    """A record of the changelog."""
    message = SimpleNamespace(tp=TP("blocks", 0), offset=offset, partition=0, value=value)
    return SimpleNamespace(key=key, value=value, message=message)


def test_a_late_and_older_shard_does_not_replace_a_newer_one() -> None:
    """Record 2 of the changelog is a frozen worker's: it is dropped; newer values and deletions are applied."""
    key, other = shard_key("block-0"), shard_key("block-1")
    store = StoreWithoutApp(SimpleNamespace(is_stale=is_stale))
    store.apply_changelog_batch(
        [
            change(0, key, with_offset(b"first", 10)),
            change(1, key, with_offset(b"second", 30)),
            change(2, key, with_offset(b"late", 20)),
            change(3, other, with_offset(b"one", 30)),
        ],
        same,
        same,
    )
    assert shards_of_partition(store.data.items()) == {"block-0": b"second", "block-1": b"one"}
    assert store.persisted_offset(TP("blocks", 0)) == 3
    store.apply_changelog_batch([change(4, key, with_offset(b"third", 30)), change(5, other, None)], same, same)
    assert shards_of_partition(store.data.items()) == {"block-0": b"third"}


async def test_a_standby_replica_is_kept_with_its_position() -> None:
    """After a recovery the standby partition's keys and position are there; another worker's partition is dropped."""
    store = StoreWithoutApp(SimpleNamespace(partition_for_key=lambda key: 2))
    for partition, key in ((0, b"active"), (1, b"standby")):
        record = change(7, key, b"1")
        record.message.tp, record.message.partition = TP("blocks", partition), partition
        store.apply_changelog_batch([record], same, same)
    store[b"written"] = b"1"
    await store.on_recovery_completed({TP("blocks", 0)}, {TP("blocks", 1)})
    assert set(store.data) == {b"active", b"standby"}
    assert [store.persisted_offset(TP("blocks", nth)) for nth in range(3)] == [7, 7, None]
