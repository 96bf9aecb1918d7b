"""A seeded neighbourhood in closed loop: homes, devices, and people and suppliers who respond to the service.

`simulation.py` is its interface; `engine.py` advances time, `behaviour.py` and `response_model.py` decide what people and suppliers do,
`homes.py` lists them, `fault_profile.py` sets how bad sensors and connections are.
"""
