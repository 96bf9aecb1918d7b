"""The embedded log: topics in one SQLite file of one process, with its reader, its writing thread and its retention."""
