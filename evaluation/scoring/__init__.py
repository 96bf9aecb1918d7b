"""Scoring of simulated runs: costs, run-outs, coverage and pinball loss, and how they are shown.

`scores.py` computes the figures with their intervals; `text_tables.py`, `charts.py` and `docs_page.py` render them.
"""
