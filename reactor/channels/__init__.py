"""The ways out: one file a way, each a `star.ports.Sender`. None of them retries: that is reactor/delivery/outbox_dispatcher.py's."""
