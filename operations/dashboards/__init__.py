"""Grafana's dashboards as code: what operators see of the fleet, its reactions, the service and its honesty.

Queries are InfluxQL, which InfluxDB 2 and 3 answer alike, over the measurements of docs/reference/influx.md. The files are
the same, byte for byte, whenever they are written with the same options.
"""
