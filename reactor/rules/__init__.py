"""Rules: whether the customer's choices allow one reaction. Each is a pure function to a RuleVerdict with its reason.

No rule acts or knows another one; the experiences check them and keep to their verdicts.
"""
