"""Several processes on one store: partitions of outbox rows, the last writer of each partition, the shared fleet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns and the table; existing outbox rows get the partition of their need."""
    op.add_column("consumed", sa.Column("writer", sa.String(), nullable=True))
    op.add_column("outbox", sa.Column("partition", sa.Integer(), nullable=False, server_default="0"))
    op.execute(
        sa.text(
            "UPDATE outbox SET partition = (SELECT needs.partition FROM needs WHERE needs.id = outbox.need)"
            " WHERE EXISTS (SELECT 1 FROM needs WHERE needs.id = outbox.need AND needs.partition <> 0)"
        )
    )
    op.create_table(
        "fleet",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("tables", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
