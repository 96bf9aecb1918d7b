"""Training of the shipped models: data, fit, calibration, export, parity check and card; one module per model.

`run_out.py` and `turbofan_rul.py` train a model each, `trainers.py` finds them by name; both use `mlp.py` and `onnx_export.py`.
"""
