"""Commands of the command line, one module per command, each with a click command named `command`.

service/: run something. inspect/: look at it without changing it. data/: read and write data. modelling/: models and rules.
"""
