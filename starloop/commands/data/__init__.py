"""Commands that read or write data: import, decode, replay, log, export, erase.

They share the formats of replay lines and of the data directory, so that one command's output is another one's input.
"""
