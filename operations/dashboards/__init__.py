"""Grafana dashboards as code: the fleet, its reactions, the service, forecast calibration, costs.

As code, a query is tested against the fields that the service writes, and a renamed field is found before a panel is empty.
Queries are InfluxQL, which InfluxDB 2 and 3 both answer, over the measurements of docs/reference/influx.md. The same options
always give the same files, byte for byte.
"""
