"""The embedded log: SQLite in one process, with its reader, writer and retention."""
