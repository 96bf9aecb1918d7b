"""From readings to the state of a slot: the level filter, counters, jumps, deliveries, and what a sensor is like."""
