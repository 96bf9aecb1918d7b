"""The logs that the stream runs on, for Faust and for others: a SQLite file of one process (embedded*.py, log*.py), and Kafka
(kafka*.py). What both correct in Faust: base.py; what the log is to all that is not Faust: client.py."""
