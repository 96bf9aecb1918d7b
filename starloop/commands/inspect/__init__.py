"""Commands that show: check, forecast, why, dashboards, doctor, bench."""
