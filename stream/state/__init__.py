"""The state of items as numpy tables, and how it is kept: shards, snapshots, checkpoints."""
