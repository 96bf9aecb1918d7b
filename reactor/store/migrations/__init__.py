"""Changes of the store's tables, by Alembic; run when a store is opened."""
