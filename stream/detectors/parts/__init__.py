"""Detectors for parts: service intervals, condition, remaining useful life."""
