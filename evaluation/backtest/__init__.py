"""A backtest: one's own history lived again under other rules, or with another model, and the difference that they make.

history.py reads what came in, consumption_estimate.py works out what was truly used, life.py lives it with the service
in it, and comparison.py
tells two such lives apart. What can't be known is assumed, and every report says what was.
"""
