"""Checks of `starloop doctor`: each is a small read-only function that returns findings.

Each finding has a remedy, because most faults of an installation are outside the code: a full disk, a wrong port, a server that
is down. machine.py: operating system and Python. setup.py: settings, ports, models. data.py: data directory and log. store.py:
the store. kafka.py, influx.py: the servers of a cluster, if configured. roles.py: health endpoints of running roles.
"""
