"""Detectors: one file a kind of need, and the pieces that it is made of.

A detector takes readings in the order of arrival, keeps its state in tables of stream/state.py, and says at a look what it
sees: a need, a refill, a forecast, a score. It decides nothing. stream/analysis.py knows the three there are:

- run_out.py: slots. level.py and usage.py judge readings, deliveries.py takes what is declared, day_ring.py keeps use by
  day, outlook.py makes the forecast, calibrate.py learns how far it can be trusted. What is known beside: beside.py keeps it,
  weather.py and absence.py are its sources, drift.py is what temperature does to a gauge, calendar.py lays a forecast out.
- service_due.py: parts by count and calendar.
- condition.py: parts by what their device reports; anomaly.py and remaining_life.py score.

Each has `set_items(catalogue …)`, takes readings in a way of its own, and `look(at_ms, …) -> needs` where it sees needs.
"""
