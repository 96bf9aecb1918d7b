"""Commands that inspect: check, doctor, forecast, why, dashboards, bench.

They change nothing, so that they can be run beside a service.
"""
