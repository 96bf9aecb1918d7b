"""The roles of the service, each a part that runs by itself or beside the others in one process.

base.py: what every role stands on. door.py: how anything gets into the log. gate.py and broker.py: MQTT, our own endpoint or
somebody's broker. stream.py: the analysis. reactor.py: decisions and their way out. console.py: pages and API. influx.py:
InfluxDB. health.py: is it alive, can it work, what does it count. They know the log and the store, never each other.
"""
