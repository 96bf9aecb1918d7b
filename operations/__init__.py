"""Tools for operators: observability, diagnostics, dashboards, privacy, data import and log export.

Nothing here decides or analyses: the service runs the same without it. It may read every part of the service; only the command
line and the roles (starloop/) may use it, so that a change to monitoring can't change a reaction.
"""
