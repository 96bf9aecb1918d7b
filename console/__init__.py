"""The web console and the HTTP API: the state of the loop for people and programs, and their answers.

It reads independently of the loop: forecasts from a read model of its own (read_model.py); needs, reactions and decisions
from the reactor's store, through the protocol of backend.py. Answers become records of the input log, like readings;
nothing is decided here.
"""
