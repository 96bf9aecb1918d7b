"""Channels: how reactions reach suppliers and customers, one file for each channel.

Each is found by an entry point of the group `starloop.channels`, those that ship included (base.py describes the protocol).
A channel makes one attempt for each call; retries, order and limits are those of reactor/delivery/outbox_dispatcher.py.
"""
