"""Simulated worlds, in which ordering policies are compared on common random numbers.

`scenario_families.py` declares the kinds of difficulty, `scenarios.py`, `sensor_faults.py` and `supply_draws.py` draw their instances
from seeds, `consumption_traces.py` supplies real demand, and `closed_loop_world.py` simulates a policy in them.
"""
