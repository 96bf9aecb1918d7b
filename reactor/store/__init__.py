"""The store: the reactor's state, its receipts and its outbox, written in one transaction for each step.

sql.py keeps it in SQLite or PostgreSQL; memory.py has the same calls in memory, for simulations and tests.
"""

from reactor.store.memory import MemoryStore
from reactor.store.rows import DeliveryStatus, OutboxRow, QuarantineRow, ReactionRow
from reactor.store.sql import SqlStore

__all__ = ["DeliveryStatus", "MemoryStore", "OutboxRow", "QuarantineRow", "ReactionRow", "SqlStore"]
