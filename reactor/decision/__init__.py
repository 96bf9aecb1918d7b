"""When and from whom to order: lead times, time to empty, reorder policy, prices, quotes.

Arithmetic on forecasts; nothing is carried out here.
"""
