"""Commands that run something: up, demo, run, fleet, simulate."""
