"""The store: what the reactor remembers, decided and has to send, in one transaction a step.

sql.py keeps it in SQLite or PostgreSQL, memory.py in memory with the same calls. The reactor's core does not import this.
"""

from reactor.store.memory import MemoryStore
from reactor.store.rows import DeliveryStatus, OutboxRow, QuarantineRow, ReactionRow
from reactor.store.sql import SqlStore

__all__ = ["DeliveryStatus", "MemoryStore", "OutboxRow", "QuarantineRow", "ReactionRow", "SqlStore"]
