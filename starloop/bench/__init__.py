"""Benchmarks: what `starloop bench` measures, each in processes of its own, told with machine, load, median and spread."""
