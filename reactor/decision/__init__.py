"""When and from whom to order: lead times, time to empty, reorder policy, price model, quotes, sourcing.

Arithmetic on forecasts; nothing is decided for the customer here, which is the experiences' part, and nothing is changed.
"""
