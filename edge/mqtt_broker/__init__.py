"""The gate: an MQTT 3.1.1 and 5 endpoint of our own, whose PUBACK means "on disk".

packet_decoder.py knows bytes, session.py and broker.py what MQTT asks of a server, authorization.py who may do what; none of them does I/O.
server.py brings the sockets, store.py keeps on disk what has to survive a restart.
"""
