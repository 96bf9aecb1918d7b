"""One partition of the input log: the processor that handles it, its share of the fleet, ticks, and how records find it."""
