"""The language of the loop: sense, analyse, react, repeat.

Pure: standard library and numpy only; no input or output, no clock, no randomness. Every other room speaks in these
facts. What is not here: how a fact is found (stream/), decided (reactor/), carried (edge/) or kept (the stores).
"""
