"""The topics of the log, named in one place."""

from __future__ import annotations

INPUT = "input"
"""Everything the service is a function of, in one order: `star.records.encode`."""
QUARANTINE = "quarantine"
"""What can't be read, whole, with the reason: `stream.inlet.encode_quarantined`."""
FACTS = "facts"
"""What each tick found, for the reactor: `Facts.pack`."""
FORECASTS = "forecasts"
"""The forecasts of the items looked at in a tick, for those who watch: JSON; nothing rests on it."""
BLOCKS = "blocks"
"""The table of state blocks; its changelog topic is `<app>-blocks-changelog`."""
