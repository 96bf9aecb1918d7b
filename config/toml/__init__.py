"""TOML with positions: reading with the line of each value, and writing."""
