"""The two logs that the stream runs on, and Faust on each of them.

log_client.py is what a log is to everything but Faust; embedded_log/ implements it on a SQLite file of one process, kafka_log/
on Kafka; faust_overrides/ is Faust on both.
"""
