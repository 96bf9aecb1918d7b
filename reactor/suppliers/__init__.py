"""Supplier strategies, one file for each kind of suppliers: what a supplier would deliver, at what price and how soon.

base.py describes the protocol and what the kinds share; registry.py finds the strategy of a kind by its entry point.
"""
