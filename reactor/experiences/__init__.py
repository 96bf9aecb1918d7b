"""The four experiences, by how much the customer lets go. Each looks at one case and has it carried out by commands.py.

respond.py makes a request ready; offer.py makes an offer; coach.py reminds; auto.py orders, and falls back to an offer where
price or budget forbid it. service.py is what each of them does for parts. decision_context.py gathers what a decision needs.
"""
