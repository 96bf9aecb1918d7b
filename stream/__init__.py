"""ANALYSE: the Faust application, the state of items and the detectors that turn readings into forecasts and needs."""
