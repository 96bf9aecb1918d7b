"""What `starloop doctor` looks at: each check is a small function that gives findings and changes nothing.

machine.py: the computer and Python. setup.py: settings, ports, models. data.py: the data directory and its log. store.py: the store.
"""
