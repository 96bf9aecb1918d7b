"""Handlers: pure functions from what happened, and the state as it is, to commands.

events.py finds the handler of an event, outcomes.py that of an outcome by (what it is about, its state); timers.py answers timers
that are due, refills.py refills that were detected or declared, evaluation.py evaluates an item that is low or that something
happened to. orders.py, prompts.py and needs.py hold the transitions that these share. reactor/apply carries the commands out.
"""
