"""Simulated devices, homes and message loads for tests, the demo, training and the evaluation. Shipped, as users need them too.

- `physics/`: demand, weather and devices with a known true state. `faults.py`: what goes wrong between a device and the service.
- `neighbourhood/`: homes, people and suppliers that respond to the service. `mqtt_player.py` plays one to a broker.
- `load.py`: a fast MQTT load for benchmarks.
"""
