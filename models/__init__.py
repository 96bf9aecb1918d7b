"""The machine-learning models: their features, the ONNX runtime that scores them, the registry, and their training.

- run-out model (days until a level is used up): `features.py`, `gamma_baseline.py`.
- remaining-useful-life model of a turbofan: `remaining_useful_life.py`.
- serving: `onnx_scorer.py`; registry: `cards.py`, `champion.py`, `registry/`; training: `train/`; loss: `pinball.py`.
"""

import os

# ONNX Runtime contains telemetry, with a thread and an identifier on disk. It must be disabled before the first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
