"""How the models that ship were made: data, fit, calibration, export, parity and card - one file a model."""
