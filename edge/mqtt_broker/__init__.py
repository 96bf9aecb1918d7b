"""An MQTT 3.1.1 and 5 broker whose PUBACK means "on disk". In settings, files and log events it is called the gate.

protocol/ encodes and decodes packets, session.py, connection.py and broker.py are the broker's rules, authorization.py is
who may do what; none of them does I/O. server.py has the sockets, session_store.py what has to survive a restart.
"""
