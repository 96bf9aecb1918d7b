"""Roles of the service: each runs in a process of its own (single_role.py), or beside the others (starloop/service.py).

Roles share the log and the store and never call each other, so that any of them can stop, move or run several times. context.py:
settings, log, store, fleet, metrics. ingest_gateway.py: writes to the log. gate.py, broker_bridge.py: MQTT, with our own broker or an
external one. reaction_publisher.py: reactions to MQTT. stream.py: analysis. reactor.py: decisions and deliveries. console.py: pages
and API. influx.py: InfluxDB. retry.py: back-off during outages.
"""
