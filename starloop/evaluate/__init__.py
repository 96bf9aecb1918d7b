"""The closed-loop evaluation: the real service beside reference policies, in seeded worlds of many kinds of trouble.

families.py says which worlds there are, lives.py and supplies.py draw them, world.py lets a policy live in one; service.py
drives the service through the replay protocol, references.py and foresight.py are what it is compared with; score.py and
tables.py make figures of it. Nothing here decides for the service: this is the measuring instrument.
"""
