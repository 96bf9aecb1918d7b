"""Ordering policies for simulated worlds: the service itself, and what it is compared with.

- `service_policy.py`: the service, driven through the replay protocol.
- `reference_policies.py`: classical inventory policies on what a service can observe, which `stock_tracker.py` estimates.
- `oracle_policy.py`: bounds: policies that know the future consumption, and the clairvoyant that knows everything.
"""
