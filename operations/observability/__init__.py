"""How the service is watched: metrics for Prometheus, health of each role, figures for the log, traces of needs.

catalogue.py: every metric. metrics.py: the instruments. probes.py: what is read from which part. snapshot.py: the same as flat
figures. health.py: the HTTP endpoint. traces.py: from a reading to its reaction. Nothing here changes what the service does.
"""
