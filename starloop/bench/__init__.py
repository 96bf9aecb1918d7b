"""Benchmarks of `starloop bench`, reported with machine, load, median and range.

Every run and every load generator is a process of its own, so that the load does not compete with what is measured inside one
interpreter, and a run starts without the caches of the previous one.
"""
