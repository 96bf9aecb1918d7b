"""Observability: Prometheus metrics, health checks, heartbeats in the log, logging, traces from reading to outcome.

The service knows nothing of it: probes read plain attributes, so that monitoring can't slow down or change a decision.
metric_catalogue.py: all metrics. metrics.py: instruments. probes.py: what is read from which part. metrics_snapshot.py: heartbeats.
health.py: HTTP endpoint. logging.py: log format. tracing.py, otlp_exporter.py: spans. step_observer.py: reactor and deliveries.
"""
