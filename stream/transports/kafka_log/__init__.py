"""Kafka as the log, by aiokafka: client, consumer, options and topics."""
