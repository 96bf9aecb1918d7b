"""The command line, and the wiring of all packages into a service: roles, the single process, benchmarks.

It is the only package that may import every other one; a decision or an analysis never belongs here.
"""
