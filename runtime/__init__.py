"""What other rooms build on to run the loop.

Replay and its line protocol, clocks, data directories, service discovery, the fleet in force.
"""
