"""All that is kept of one customer: found, handed out, or erased.

data_locator.py knows what is theirs; export.py writes it into a file; erasure.py takes it out of a stopped service's
data directory, and out
of a store. The running service has no part in it.
"""
