"""The facts of the loop: sense, analyse, react, repeat.

Pure: standard library and numpy only; no input or output, no clock, no randomness. Every other package uses these types.
Not here: how a fact is detected (stream/), decided (reactor/), transported (edge/) or stored (the stores).
"""
