"""Simulated worlds: families of scenarios, demand, sensor faults, supply, and the closed loop that a policy is judged in."""
