"""Sinks: write the log's records to other systems, one-way. Nothing depends on a sink, and a sink never delays the service."""
