"""What `starloop doctor` looks at: each check is a small function that gives findings and changes nothing.

machine.py: the computer and Python. setup.py: settings, ports, models. data.py: the data directory and its log. store.py: the store.
kafka.py, influx.py: the servers of a cluster, where they are set. roles.py: roles that run, over HTTP.
"""
