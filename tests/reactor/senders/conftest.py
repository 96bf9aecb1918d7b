"""Fixtures of the senders' tests."""

from __future__ import annotations

import pytest

from tests.reactor.senders.small_fleet import HandClock, OutboxInMemory


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def outbox() -> OutboxInMemory:
    return OutboxInMemory()
