"""SENSE and TRANSMIT: ingest over MQTT, on a site's small computer as well as at the centre.

mqtt_broker/ is an MQTT broker, mqtt_client.py connects to brokers of others, adapters/ decode the payloads of devices,
decoder.py turns messages into records, ingest_service.py appends them to the log, and outbox.py stores messages of a site
while the uplink is down. Whether a reading is plausible is not decided here.
"""
