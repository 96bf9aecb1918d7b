"""SENSE and TRANSMIT: the same agent on a site's small computer and at the centre's rim.

gate/ is an MQTT endpoint of our own, client.py subscribes at someone else's broker, adapters/ read what devices say,
decoder.py makes records of it, outbox.py keeps it on disk while the uplink is away. Nothing here judges a reading.
"""
