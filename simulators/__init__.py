"""Simulated devices, homes and loads: what the tests, the demo and training live on. Shipped, as users need it too."""
