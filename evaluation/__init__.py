"""The evaluation: how good the service's decisions and forecasts are, measured in simulation and on recorded history.

It is a measuring instrument: it drives the service through public interfaces (runtime.replay, the stores), and no part of the
service imports it.

- `worlds/` draws scenarios and simulates them; `policies/` are the ordering policies compared there, the service among them;
  `scoring/` turns their runs into figures. `closed_loop.py` combines the three (`starloop models evaluate`).
- `model_promotion.py` and `shadow_scoring.py` compare a challenger model with the champion, in simulation and on the live log.
- `backtest/` replays a recorded history under other rules (`starloop backtest`).
- `deterministic_simulation.py` runs the whole loop in one thread under random kills; `invariants.py` checks, independently of the
  service's code, what must never happen.
- `parallel.py`: worker processes for independent simulations.
"""
