"""Fixtures of the delivery tests."""

from __future__ import annotations

import pytest

from tests.support.delivery_fleet import InMemoryOutbox, ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def outbox() -> InMemoryOutbox:
    return InMemoryOutbox()
