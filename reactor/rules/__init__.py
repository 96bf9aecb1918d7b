"""Rules: what the customer's choices say about one reaction. Each is a pure function that gives a RuleVerdict with a reason.

None of them acts, and none knows the others; the experiences ask them and obey.
"""
