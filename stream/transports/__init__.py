"""The logs that the stream runs on: embedded.py (a SQLite file, one process); what all of them correct in Faust: base.py."""
