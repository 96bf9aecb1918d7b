"""Commands for models and rules: registry, training, evaluation, promotion, shadow scoring, backtests.

A model or rule is compared with the current one before it is used: no command puts an unevaluated model into use.
"""
