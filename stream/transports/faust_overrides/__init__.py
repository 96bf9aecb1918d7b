"""Every class of Faust that Starloop overrides, in one folder; docs/internals/faust.md says what is overridden and why.

Both logs share corrected_consumer.py and corrected_producer.py; each has a transport with its consumer and its producer.
stream_app.py overrides the app, its table manager and its tables; durable_table_store.py the tables' store.
"""
