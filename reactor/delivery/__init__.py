"""Delivery of reactions: routes, the outbox dispatcher and its limits, the channel router, the pre-send check, CloudEvents."""
