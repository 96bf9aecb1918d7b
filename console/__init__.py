"""The web console and the HTTP API: what the loop knows, shown to people and programs, and what they answer.

It reads beside the loop and never in it: forecasts through a read model of its own (read_model.py), needs, reactions and
receipts from the reactor's store (backend.py says what is asked of them). What people do here becomes records of the
input log like any reading; nothing is decided in this room.
"""
