"""The backtest: a recorded history under other rules or another model, and the difference in money, run-outs and contacts.

`history.py` reads the recorded input, `consumption_estimate.py` estimates the true consumption behind it, `counterfactual.py`
simulates the service on that consumption under given rules, and `comparison.py` compares such runs. What can't be known is assumed,
and every report lists the assumptions.
"""
