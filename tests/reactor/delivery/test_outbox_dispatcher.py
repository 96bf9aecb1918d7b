"""The dispatcher: order within a line, retries and their end, one id for all attempts, with real suppliers on loopback."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook
from structlog.testing import capture_logs

from config.catalogue import Catalogue
from config.settings import Settings
from reactor.channels.mqtt import MqttChannel
from reactor.channels.notify import NotifyChannel
from reactor.channels.webhook import WebhookChannel
from reactor.delivery.cloudevents import event_bytes
from reactor.delivery.limits import DeliveryLimits, backoff_s
from reactor.delivery.outbox_dispatcher import OutboxDispatcher, Router, failed_delivery_outcome
from reactor.delivery.routes import targets_of
from star.errors import InputError, Unavailable
from star.react import Reaction, ReactionType
from star.repeat import NeedState
from starloop.roles.reaction_publisher import ReactionPublisher
from stream.topics import topic_specs
from stream.transports.embedded_log.client import EmbeddedClient
from stream.transports.embedded_log.sqlite_log import SqliteLog
from tests.support.delivery_fleet import (
    SECRET,
    InMemoryOutbox,
    ManualClock,
    RecordingChannel,
    customer_lookup,
    fleet_of,
    reaction_of,
    router_of,
    supplier_lookup,
)
from tests.support.supplier_server import SupplierServer, serving

TARGET = "supplier:acme"


class FailingChannel:
    """A channel or router that fails with `error` until it is None."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.attempts: list[Reaction] = []

    async def send(self, reaction: Reaction, address: str) -> None:
        self.attempts.append(reaction)
        if self.error is not None:
            raise self.error

    async def close(self) -> None:
        pass


def dispatcher_to(
    router: Router,
    outbox: InMemoryOutbox,
    clock: ManualClock,
    *,
    recorder: RecordingChannel | None = None,
    fleet: Catalogue | None = None,
    limits: DeliveryLimits | None = None,
) -> OutboxDispatcher:
    """A dispatcher that sends everything through `router`."""
    fleet = fleet or fleet_of()
    return OutboxDispatcher(
        outbox,
        router,
        catalogue=lambda: fleet,
        report=(recorder or RecordingChannel()).report,
        need_state=lambda _: NeedState.OPEN,
        clock=clock,
        limits=limits,
    )


async def until(true: Callable[[], bool], within_s: float = 5.0) -> None:
    """Waits until it is true."""
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - looked at from outside, as a person would
            await asyncio.sleep(0.005)


async def test_an_order_reaches_its_supplier_after_two_failures_with_one_id(
    outbox: InMemoryOutbox, clock: ManualClock
) -> None:
    """500, 503, then accepted: three calls, one webhook-id, one body, each signature valid."""
    clock.at_ms = round(time.time() * 1000)
    order = reaction_of(at_ms=clock.at_ms)
    async with serving(SupplierServer(answers=[(500, {}), (503, {})])) as acme:
        fleet = fleet_of(acme.url)
        channel = WebhookChannel(supplier_lookup(fleet), default_secret=SECRET, clock=clock)
        dispatcher = dispatcher_to(router_of(fleet, webhook=channel), outbox, clock, fleet=fleet)
        row = outbox.add(order, TARGET)
        for _ in range(3):
            await dispatcher.run_once()
            clock.advance_s(60)
        await channel.close()
    assert row.state == "sent"
    assert len({call.headers["webhook-id"] for call in acme.calls}) == 1
    assert [call.body for call in acme.calls] == [event_bytes(order)] * 3
    assert all(Webhook(SECRET).verify(call.body, call.headers) for call in acme.calls)


async def test_a_cancellation_never_overtakes_its_order(outbox: InMemoryOutbox, clock: ManualClock) -> None:
    """While the order can't be delivered its cancellation waits; another need's order does not."""
    channel = FailingChannel(Unavailable("acme answers 503"))
    dispatcher = dispatcher_to(channel, outbox, clock, limits=DeliveryLimits(circuit_failures=100))
    order, cancel = reaction_of(), reaction_of(ReactionType.ORDER_CANCELLED)
    other = reaction_of(cycle=4)
    for reaction in (order, cancel, other):
        outbox.add(reaction, TARGET)
    await dispatcher.run_once()
    channel.error = None
    clock.advance_s(30)
    await dispatcher.run_once()
    await dispatcher.run_once()
    assert [reaction.id for reaction in channel.attempts] == [order.id, other.id, order.id, other.id, cancel.id]


async def test_while_one_order_is_on_its_way_the_next_in_its_line_waits(
    outbox: InMemoryOutbox, clock: ManualClock
) -> None:
    """A slow supplier never gets order and cancellation at once, however often the dispatcher polls."""
    at_once, most = 0, 0

    class Slow:
        async def send(self, reaction: Reaction, target: str) -> None:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.05)
            at_once -= 1

    outbox.add(reaction_of(), TARGET)
    outbox.add(reaction_of(ReactionType.ORDER_CANCELLED), TARGET)
    dispatcher = dispatcher_to(Slow(), outbox, clock, limits=DeliveryLimits(poll_s=0.01))
    running = asyncio.create_task(dispatcher.run())
    for _ in range(10):
        dispatcher.wake()
        await asyncio.sleep(0.005)
    await until(lambda: all(row.state == "sent" for row in outbox.rows))
    running.cancel()
    assert most == 1


async def test_no_more_than_the_limit_is_in_flight_to_one_target(outbox: InMemoryOutbox, clock: ManualClock) -> None:
    """A supplier with a hundred orders waiting gets eight at a time, and others still have room."""
    at_once, most, others = 0, 0, 0

    class Slow:
        async def send(self, reaction: Reaction, target: str) -> None:
            nonlocal at_once, most, others
            if reaction.device == "tank-8":
                others += 1
                return
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.01)
            at_once -= 1

    for cycle in range(100):
        outbox.add(reaction_of(cycle=cycle), TARGET)
    outbox.add(reaction_of(device="tank-8"), "mqtt")
    dispatcher = dispatcher_to(Slow(), outbox, clock)
    await dispatcher.run_once()
    assert (most, others) == (8, 1)


async def test_an_order_that_is_refused_comes_back_as_a_failed_outcome_once(
    outbox: InMemoryOutbox, clock: ManualClock
) -> None:
    """The row is given up with the supplier's reason, and the outcome has an id derived from the order's."""
    recorder, order = RecordingChannel(), reaction_of()
    row = outbox.add(order, TARGET)
    with capture_logs() as logs:
        await dispatcher_to(
            FailingChannel(InputError("acme answers 410: gone")), outbox, clock, recorder=recorder
        ).run_once()
    assert (row.state, row.error) == ("given_up", "acme answers 410: gone")
    assert [(o.id, o.result, o.reaction) for o in recorder.outcomes] == [
        (f"undelivered/{order.id}", "failed", order.id)
    ]
    assert [(entry["event"], entry["reaction"]) for entry in logs] == [("gave_up_delivery", order.id)]


async def test_attempts_have_an_end_by_number(outbox: InMemoryOutbox, clock: ManualClock) -> None:
    """Twenty attempts with doubling waits; then the last reason is shown and the order has failed."""
    recorder, channel = RecordingChannel(), FailingChannel(Unavailable("acme can't be reached: ConnectError"))
    row = outbox.add(reaction_of(), TARGET)
    dispatcher = dispatcher_to(channel, outbox, clock, recorder=recorder, limits=DeliveryLimits(age_max_ms=10**15))
    while row.state == "waiting":
        clock.at_ms = max(row.due_ms, clock.at_ms)
        await dispatcher.run_once()
    assert len(channel.attempts) == 20
    assert row.error == "given up after 20 tries; the last: acme can't be reached: ConnectError"
    assert len(recorder.outcomes) == 1


async def test_attempts_have_an_end_by_age(outbox: InMemoryOutbox, clock: ManualClock) -> None:
    """An order of three days is not sent any more, nor a contact of one."""
    channel = FailingChannel(None)
    order = outbox.add(reaction_of(), TARGET)
    offer = outbox.add(reaction_of(ReactionType.OFFER_MADE), "customer:maria")
    dispatcher = dispatcher_to(channel, outbox, clock)
    clock.advance_s(86_400)
    order.due_ms = clock.at_ms + 1
    await dispatcher.run_once()
    assert (order.state, offer.state) == ("waiting", "given_up")
    clock.advance_s(2 * 86_400)
    await dispatcher.run_once()
    assert order.state == "given_up"
    assert channel.attempts == []


async def test_a_kill_after_the_outcome_was_reported_sends_nothing_twice(
    outbox: InMemoryOutbox, clock: ManualClock
) -> None:
    """Killed between report and mark: the next start reports the same id again and sends nothing to the supplier."""

    class Killed(BaseException):
        pass

    recorder, channel = RecordingChannel(), FailingChannel(Unavailable("down"))
    row = outbox.add(reaction_of(), TARGET)
    row.tries = 20
    dying = dispatcher_to(channel, outbox, clock, recorder=recorder)
    marks = outbox.mark_failed

    def kill(*_: object, **__: object) -> None:
        raise Killed

    outbox.mark_failed = kill  # type: ignore[method-assign,assignment]
    with pytest.raises(BaseExceptionGroup):
        await dying.run_once()
    outbox.mark_failed = marks  # type: ignore[method-assign]
    await dispatcher_to(channel, outbox, clock, recorder=recorder).run_once()
    assert {outcome.id for outcome in recorder.outcomes} == {failed_delivery_outcome(row.reaction, 0).id}
    assert channel.attempts == []
    assert row.state == "given_up"


async def test_a_dispatcher_killed_in_mid_request_sends_the_same_order_again(
    outbox: InMemoryOutbox, clock: ManualClock
) -> None:
    """The supplier gets one id twice, never two."""
    clock.at_ms = round(time.time() * 1000)
    outbox.add(reaction_of(at_ms=clock.at_ms), TARGET)
    async with serving(SupplierServer(slow_s=0.2)) as acme:
        fleet = fleet_of(acme.url)
        channel = WebhookChannel(supplier_lookup(fleet), default_secret=SECRET, clock=clock)
        router = router_of(fleet, webhook=channel)
        first = asyncio.create_task(dispatcher_to(router, outbox, clock, fleet=fleet).run())
        await until(lambda: len(acme.calls) == 1)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await dispatcher_to(router, outbox, clock, fleet=fleet).run_once()
        await router.close()
    assert outbox.rows[0].state == "sent"
    assert len({call.headers["webhook-id"] for call in acme.calls}) == 1


async def test_a_lost_mqtt_order_fails_and_a_lost_contact_does_not(outbox: InMemoryOutbox, clock: ManualClock) -> None:
    """Only an order on the target that reaches its supplier comes back as an outcome."""
    recorder = RecordingChannel()
    outbox.add(reaction_of(), "mqtt")
    outbox.add(reaction_of(ReactionType.ORDER_CANCELLED, cycle=4), "mqtt")
    outbox.add(reaction_of(ReactionType.OFFER_MADE, cycle=5), "customer:maria")
    await dispatcher_to(
        FailingChannel(InputError("no")), outbox, clock, recorder=recorder, fleet=fleet_of("mqtt")
    ).run_once()
    assert [outcome.reaction for outcome in recorder.outcomes] == [reaction_of().id]
    assert {row.state for row in outbox.rows} == {"given_up"}


async def test_a_contact_that_was_held_up_waits_for_the_end_of_quiet_hours(
    outbox: InMemoryOutbox, clock: ManualClock
) -> None:
    """Due again at three in the morning, it goes out at half past seven; an order would not wait."""
    channel, fleet = FailingChannel(None), fleet_of(quiet_hours=("22:00", "07:30"), timezone="Europe/Paris")
    clock.at_ms = round(datetime(2025, 11, 25, 2, 0, tzinfo=UTC).timestamp() * 1000)
    contact = outbox.add(reaction_of(ReactionType.OFFER_MADE), "customer:maria")
    order = outbox.add(reaction_of(cycle=4), TARGET)
    dispatcher = dispatcher_to(channel, outbox, clock, fleet=fleet)
    await dispatcher.run_once()
    assert (contact.state, order.state) == ("waiting", "sent")
    assert contact.due_ms == round(datetime(2025, 11, 25, 6, 30, tzinfo=UTC).timestamp() * 1000)
    clock.at_ms = contact.due_ms
    await dispatcher.run_once()
    assert contact.state == "sent"


async def test_a_supplier_that_is_down_is_left_alone_for_a_while(outbox: InMemoryOutbox, clock: ManualClock) -> None:
    """After three failures in a row its other orders are postponed without an attempt, and go out when it is back."""
    channel = FailingChannel(Unavailable("acme can't be reached"))
    dispatcher = dispatcher_to(channel, outbox, clock, limits=DeliveryLimits(in_flight_per_target_max=1))
    for cycle in range(6):
        outbox.add(reaction_of(cycle=cycle), TARGET)
    for _ in range(6):
        await dispatcher.run_once()
    assert len(channel.attempts) == 3
    assert {row.error for row in outbox.rows} == {"acme can't be reached"}
    channel.error = None
    for _ in range(12):
        clock.advance_s(10)
        await dispatcher.run_once()
    assert {row.state for row in outbox.rows} == {"sent"}


async def test_a_supplier_s_retry_after_is_honoured(outbox: InMemoryOutbox, clock: ManualClock) -> None:
    """The next attempt is not before it, though the back-off would be shorter."""
    channel = FailingChannel(Unavailable("busy", retry_after_s=600.0))
    row = outbox.add(reaction_of(), TARGET)
    await dispatcher_to(channel, outbox, clock).run_once()
    assert row.due_ms == clock.at_ms + 600_000


def test_waits_double_and_are_spread_the_same_way_on_every_run(outbox: InMemoryOutbox) -> None:
    """Within 20 % of 5 s · 2^n, at most 6 h; different rows differ, so they do not come back together."""
    first, second = outbox.add(reaction_of(), TARGET), outbox.add(reaction_of(cycle=4), TARGET)
    limits = DeliveryLimits()
    for tries in range(1, 20):
        planned = min(5.0 * 2 ** (tries - 1), 6 * 3600)
        assert 0.8 * planned <= backoff_s(first, tries, limits) <= 1.2 * planned
        assert backoff_s(first, tries, limits) == backoff_s(first, tries, limits)
    assert backoff_s(first, 3, limits) != backoff_s(second, 3, limits)


def test_an_operator_sets_attempts_and_waits() -> None:
    """The settings' attempts and waits are the dispatcher's limits."""
    limits = DeliveryLimits.from_settings(Settings(send_attempts_max=3, send_backoff_s=2.0, send_backoff_max_s=60.0))
    assert (limits.attempts_max, limits.backoff_first_s, limits.backoff_max_s) == (3, 2.0, 60.0)


async def test_an_offer_goes_to_the_device_and_the_phone_each_by_its_channel(
    outbox: InMemoryOutbox, clock: ManualClock, tmp_path: Path
) -> None:
    """Over the log and MQTT as an event at QoS 1, retained; to the phone as a sentence."""
    published: list[tuple[str, bytes, int, bool]] = []

    done = asyncio.Event()

    async def publish(topic: str, payload: bytes, qos: int, retain: bool) -> None:
        published.append((topic, payload, qos, retain))
        done.set()

    with SqliteLog(tmp_path / "log.db") as log:
        client = EmbeddedClient(log, topic_specs())
        await client.start()
        announcing = asyncio.create_task(ReactionPublisher(client, "gate", publish).run())
        offer, phone = await _sent(outbox, clock, MqttChannel(client))
        await asyncio.wait_for(done.wait(), 10)
        announcing.cancel()
        await asyncio.wait([announcing])
    assert published == [("starloop/v1/tank-7/reactions", event_bytes(offer), 1, True)]
    assert json.loads(phone.calls[0].body)["message"] == offer.because
    assert {row.state for row in outbox.rows} == {"sent"}


async def _sent(outbox: InMemoryOutbox, clock: ManualClock, mqtt: MqttChannel) -> tuple[Reaction, SupplierServer]:
    """An offer, sent to device and phone; and the phone."""
    async with serving(SupplierServer(answers=[(200, {})])) as phone:
        fleet = fleet_of(channels=("mqtt", phone.url.replace("http", "json", 1)))
        router = router_of(
            fleet,
            mqtt=mqtt,
            webhook=FailingChannel(InputError("nothing is sent to a supplier")),
            notify=NotifyChannel(customer_lookup(fleet), lambda item, _: item),
        )
        report: Callable[..., Awaitable[None]] = RecordingChannel().report
        dispatcher = OutboxDispatcher(
            outbox, router, catalogue=lambda: fleet, report=report, need_state=lambda _: None, clock=clock
        )
        offer = reaction_of(ReactionType.OFFER_MADE)
        for target in targets_of(offer, fleet):
            outbox.add(offer, target)
        await dispatcher.run_once()
    return offer, phone
