"""The closed-loop evaluation: the real service beside reference policies, in seeded worlds of many kinds of trouble.

scenario_families.py says which worlds there are, scenarios.py and supply_draws.py draw them, world.py lets a policy live in one; service.py
drives the service through the replay protocol, reference_policies.py and oracle_policy.py are what it is compared with; scores.py and
tables.py make figures of it. Nothing here decides for the service: this is the measuring instrument.
"""
