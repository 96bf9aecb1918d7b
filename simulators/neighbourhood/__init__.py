"""A seeded neighbourhood in closed loop: homes, devices, the people's behaviour and their suppliers."""
