"""All that is kept of one customer: found, handed out, or erased.

theirs.py knows what is theirs; out.py writes it into a file; erased.py takes it out of a stopped service's data directory, and out
of a store. The running service has no part in it.
"""
