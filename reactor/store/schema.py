"""The store's tables. They are changed by migrations (migrations/), which run when a store is opened.

Columns hold what is queried; the whole entity is its `body`, in JSON. `partition` is the log's partition of the customer, each
consumed by one process at a time; `writer` is the instance that consumed it last (partition_fencing.py).
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text, UniqueConstraint

metadata = MetaData()

# SQLite assigns row numbers only to a column of type INTEGER.
_Serial = BigInteger().with_variant(Integer, "sqlite")

consumed = Table(
    "consumed",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("input_offset", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("writer", String),
)

needs = Table(
    "needs",
    metadata,
    Column("id", String, primary_key=True),
    Column("partition", Integer, nullable=False),
    Column("item", String, nullable=False),
    Column("customer", String, nullable=False),
    Column("state", String, nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("needs_by_state", "partition", "state"),
    Index("needs_by_item", "item", "opened_ms"),
    Index("needs_by_customer", "customer", "opened_ms"),
)

memory = Table(
    "memory",
    metadata,
    Column("kind", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)

reactions = Table(
    "reactions",
    metadata,
    Column("id", String, primary_key=True),
    Column("place", BigInteger, nullable=False),
    Column("need", String, nullable=False),
    Column("item", String, nullable=False),
    Column("customer", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("result", String),
    Column("result_ms", BigInteger),
    Column("timing", String),
    Column("body", Text, nullable=False),
    Index("reactions_by_time", "at_ms", "place"),
    Index("reactions_by_item", "item", "at_ms"),
    Index("reactions_by_need", "need"),
    Index("reactions_by_customer", "customer", "at_ms"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", String, primary_key=True),
    Column("need", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("reaction", String),
    Column("at_ms", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("decisions_by_need", "need", "number"),
    Index("decisions_by_reaction", "reaction"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("partition", Integer, nullable=False, server_default="0"),
    Column("reaction", String, nullable=False),
    Column("need", String, nullable=False),
    Column("target", String, nullable=False),
    Column("state", String, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("error", Text),
    UniqueConstraint("reaction", "target"),
    Index("outbox_by_due", "state", "due_ms"),
    Index("outbox_by_line", "need", "target", "state"),
)

names = Table(
    "names",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String, nullable=False, unique=True),
)

fleet = Table(
    "fleet",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("tables", Text, nullable=False),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("source", String, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("topic", Text),
    Column("payload", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    UniqueConstraint("source", "log_offset", "number"),
)
