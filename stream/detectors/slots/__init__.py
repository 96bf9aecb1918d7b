"""The run-out detector and its pieces: level filter, use, deliveries, forecast, calibration."""
