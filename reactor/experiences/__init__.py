"""The four experiences, by how much the customer leaves to the service; each decides about one item and returns commands.

respond.py makes a request ready; offer.py makes an offer; coach.py reminds; auto.py orders, and offers where price or budget
forbid an order. service.py does each of these for parts; authorization.py carries out what the customer asked for or accepted.
contact_policy.py says when a customer may be prompted; command_factory.py composes commands with their receipts. All of it is
pure: a function of the context (decision_context.py), which reads the state and can't change it.
"""
