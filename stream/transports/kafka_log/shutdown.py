"""Stopping aiokafka's clients in a limited time, whatever state they are in: a broker may be away.

aiokafka's own `stop` of a producer waits without a limit until brokers have taken all records (aio-libs/aiokafka#1101).
"""

from __future__ import annotations

import asyncio
import contextlib

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream.transports.kafka_log.options import STOP_S_MAX


async def stop_quietly(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Stops the client; gives up after STOP_S_MAX, and ignores that the broker is away."""
    with contextlib.suppress(KafkaError, TimeoutError, OSError):
        async with asyncio.timeout(STOP_S_MAX):
            await client.stop()


async def abort_producer(producer: AIOKafkaProducer) -> None:
    """Ends the producer without sending, or waiting for, the records that it holds."""
    with contextlib.suppress(KafkaError, TimeoutError, OSError):
        async with asyncio.timeout(STOP_S_MAX):
            await producer._sender.close()
    producer._closed = True
    await producer.client.close()
