"""Detectors: one file a kind of need, and the pieces that it is made of.

A detector takes readings in the order of arrival, keeps its state in tables of stream/state/state_table.py, and says at a look what it
sees: a need, a refill, a forecast, a score. It decides nothing. stream/analysis.py knows the three there are:

- run_out.py: slots. level_filter.py and usage_counter.py judge readings, delivery_matching.py takes what is declared,
daily_usage.py keeps use by
  day, forecasting.py makes the forecast, calibration.py learns how far it can be trusted. What is known beside: covariates.py keeps it,
  weather.py and absence.py are its sources, thermal_compensation.py is what temperature does to a gauge,
  calendar_adjustment.py lays a forecast out.
- service_due.py: parts by count and calendar.
- condition.py: parts by what their device reports; anomaly.py and remaining_useful_life.py score.

Each has `set_items(catalogue …)`, takes readings in a way of its own, and `look(at_ms, …) -> needs` where it sees needs.
"""
