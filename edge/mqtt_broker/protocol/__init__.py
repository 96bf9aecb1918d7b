"""MQTT 3.1.1 and 5.0 as bytes and packets: decoding, encoding, properties, topic filters. No I/O and no sessions."""
