"""Commands that run something: demo, up, run, fleet, simulate.

Modules that load Faust are imported inside functions, so that `--help` responds quickly.
"""
