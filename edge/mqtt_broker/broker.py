"""The broker's state: sessions, subscriptions, retained messages and wills, and the routing of messages. No I/O.

The clock is an argument. What has to be on disk goes to a SessionStore, whose `after_commit` calls back once it is.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from edge.mqtt_broker.authorization import Principal
from edge.mqtt_broker.limits import NEVER_S, Limits
from edge.mqtt_broker.protocol.packets import PropertyId, Will
from edge.mqtt_broker.protocol.topic_filters import FilterTree
from edge.mqtt_broker.retained_messages import RetainedMessages
from edge.mqtt_broker.session import BrokerMessage, Link, QueuedMessage, Session, Subscription

SUBSCRIPTIONS_MAX = 1_000
"""Most subscriptions of one session."""
ROUTES_MAX = 100_000
"""Most topics in the cache of routes; beyond, the cache is emptied."""


class Arrival(NamedTuple):
    """A message for the input log. may_accept: whether its sender may spend the customer's money."""

    topic: str
    payload: bytes
    arrived_ms: int
    may_accept: bool


class Ingest(Protocol):
    """The consumer of messages that become records."""

    def offer(self, arrivals: Sequence[Arrival], done: Callable[[], None] | None) -> bool:
        """Accepts the messages in any case, and calls `done`, in the order of the calls, once they are on disk.

        False: the sender has to pause until `when_ready` calls back.
        """
        ...

    def when_ready(self, resume: Callable[[], None]) -> None:
        """Calls `resume` once more messages may be offered."""
        ...

    def now_ms(self) -> int:
        """Time of arrival for what arrives now, in milliseconds since the epoch; monotonic."""
        ...


class SessionStore(Protocol):
    """Stores what has to survive a restart: persistent sessions, their queues, and retained messages."""

    def save_session(self, session: Session) -> None:
        """Inserts or replaces the session with its owner, expiry and end."""
        ...

    def delete_session(self, client_id: str) -> None:
        """Deletes the session with its subscriptions and queue."""
        ...

    def save_subscription(self, client_id: str, subscription: Subscription) -> None:
        """Inserts a subscription, or replaces the one with the same filter."""
        ...

    def delete_subscription(self, client_id: str, full_filter: str) -> None:
        """Deletes a subscription."""
        ...

    def save_queued(self, session: Session, out: QueuedMessage) -> None:
        """Adds a message to the session's queue."""
        ...

    def delete_queued(self, session: Session, number: int) -> None:
        """Removes a message from the session's queue."""
        ...

    def save_retained(self, message: BrokerMessage) -> None:
        """Replaces the topic's retained message; an empty payload deletes it."""
        ...

    def after_commit(self, done: Callable[[], None]) -> None:
        """Calls `done` when every change so far is on disk: at once where it is already."""
        ...


class NullSessionStore:
    """A store without a disk: sessions live as long as the process."""

    def save_session(self, session: Session) -> None:
        """Does nothing."""

    def delete_session(self, client_id: str) -> None:
        """Does nothing."""

    def save_subscription(self, client_id: str, subscription: Subscription) -> None:
        """Does nothing."""

    def delete_subscription(self, client_id: str, full_filter: str) -> None:
        """Does nothing."""

    def save_queued(self, session: Session, out: QueuedMessage) -> None:
        """Does nothing."""

    def delete_queued(self, session: Session, number: int) -> None:
        """Does nothing."""

    def save_retained(self, message: BrokerMessage) -> None:
        """Does nothing."""

    def after_commit(self, done: Callable[[], None]) -> None:
        """Calls `done` at once."""
        done()


class _Route(NamedTuple):
    """Receivers of a topic: sessions with their matching subscriptions, and shared groups, of which one member gets each
    message."""

    direct: tuple[tuple[Session, tuple[Subscription, ...]], ...]
    groups: tuple[tuple[str, tuple[tuple[Session, Subscription], ...]], ...]


class Broker:
    """See the module. clock: seconds since the epoch. is_input: whether messages to a topic go to the ingest as well."""

    def __init__(
        self,
        clock: Callable[[], float],
        store: SessionStore | None = None,
        is_input: Callable[[str], bool] = lambda topic: not topic.endswith("/reactions"),
    ) -> None:
        self.is_input = is_input
        self.clock = clock
        self.store: SessionStore = NullSessionStore() if store is None else store
        self.ingest: Ingest | None = None
        self.sessions: dict[str, Session] = {}
        self._tree: FilterTree[tuple[Session, Subscription]] = FilterTree()
        self._limits = Limits()
        self._retained = RetainedMessages(self._limits.retained_max)
        self._routes: dict[str, _Route] = {}
        self._group_positions: dict[str, int] = {}
        self._pending_wills: list[tuple[float, int, str, Will]] = []
        self._wills_scheduled = 0

    @property
    def limits(self) -> Limits:
        """The limits of sessions and clients."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        self._retained.messages_max = limits.retained_max
        for session in self.sessions.values():
            session.queue_max = limits.queue_max

    def at_capacity(self, client_id: str) -> bool:
        """Whether a session for this client would be one too many."""
        return client_id not in self.sessions and len(self.sessions) >= self._limits.sessions_max

    def restore(self, sessions: Sequence[Session], retained: Sequence[BrokerMessage]) -> None:
        """Takes over what the store loaded, before the first connection."""
        for session in sessions:
            self.sessions[session.client_id] = session
            session.queue_max = self._limits.queue_max
            for subscription in session.subscriptions.values():
                self._tree.insert(
                    subscription.filter, _subscription_key(session, subscription), (session, subscription)
                )
        for message in retained:
            self._retained.store(message)

    def open_session(
        self, client_id: str, principal: Principal, clean: bool, expiry_s: int, link: Link
    ) -> tuple[Session, bool]:
        """(the client's session, now with the connection `link`; whether it existed before)."""
        before = self.sessions.get(client_id)
        self._resolve_pending_will(client_id, resumed=not clean)
        if before is not None and (clean or self._expired(before)):
            self.end_session(before)
            before = None
        session = before or Session(client_id, principal.name, expiry_s, self.store)
        session.link, session.ended_s, session.expiry_s = link, None, expiry_s
        session.queue_max = self._limits.queue_max
        self.sessions[client_id] = session
        if session.persistent:
            self.store.save_session(session)
        elif before is not None:
            self.store.delete_session(client_id)
        return session, before is not None

    def close_session(self, session: Session, will: Will | None) -> None:
        """Ends the session's connection. A will is published now, or after its delay."""
        now_s = self.clock()
        session.link, session.ended_s = None, now_s
        delay_s = 0 if will is None else (will.properties or {}).get(PropertyId.WILL_DELAY, 0)
        delay_s = min(delay_s, session.expiry_s)
        if will is not None and delay_s:
            self._wills_scheduled += 1
            heapq.heappush(self._pending_wills, (now_s + delay_s, self._wills_scheduled, session.client_id, will))
        elif will is not None:
            self.publish_will(will)
        if session.persistent:
            self.store.save_session(session)
        else:
            self.end_session(session)

    def end_session(self, session: Session) -> None:
        """Removes the session and its subscriptions."""
        for subscription in session.subscriptions.values():
            self._tree.remove(subscription.filter, _subscription_key(session, subscription))
        if self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]
        self._routes.clear()
        if session.persistent:
            self.store.delete_session(session.client_id)

    def subscribe(self, session: Session, subscription: Subscription) -> bool:
        """Adds the subscription, or replaces the one with the same filter. True: it is new."""
        full_filter = subscription.full_filter
        new = full_filter not in session.subscriptions
        session.subscriptions[full_filter] = subscription
        self._tree.insert(subscription.filter, _subscription_key(session, subscription), (session, subscription))
        self._routes.clear()
        if session.persistent:
            self.store.save_subscription(session.client_id, subscription)
        return new

    def unsubscribe(self, session: Session, full_filter: str) -> bool:
        """Removes the subscription; False where there was none."""
        subscription = session.subscriptions.pop(full_filter, None)
        if subscription is None:
            return False
        self._tree.remove(subscription.filter, _subscription_key(session, subscription))
        self._routes.clear()
        if session.persistent:
            self.store.delete_subscription(session.client_id, full_filter)
        return True

    def send_retained(self, session: Session, subscription: Subscription) -> None:
        """Queues the retained messages that match a subscription."""
        now_s = self.clock()
        identifiers = (subscription.identifier,) if subscription.identifier else ()
        for message in list(self._retained.match(subscription.filter)):
            if message.expires_s is None or message.expires_s > now_s:
                session.enqueue(message, min(message.qos, subscription.qos), True, identifiers, now_s)

    def publish(self, message: BrokerMessage, origin: Session | None = None) -> int:
        """Retains the message where it is to be retained, and queues it for every subscriber. Returns the number of sessions."""
        if message.retain and self._retained.store(message):
            self.store.save_retained(message)
        route = self._routes.get(message.topic) or self._route(message.topic)
        count = 0
        if route.direct or route.groups:
            now_s = self.clock()
            for session, subscriptions in route.direct:
                count += self._deliver_to_session(session, subscriptions, message, origin, now_s)
            for group, members in route.groups:
                session, subscription = self._next_group_member(group, members)
                count += self._deliver_to_session(session, (subscription,), message, origin, now_s)
        return count

    def has_subscribers(self, topic: str) -> bool:
        """Whether anyone subscribes to `topic`."""
        route = self._routes.get(topic) or self._route(topic)
        return bool(route.direct or route.groups)

    def _deliver_to_session(
        self,
        session: Session,
        subscriptions: tuple[Subscription, ...],
        message: BrokerMessage,
        origin: Session | None,
        now_s: float,
    ) -> bool:
        if session is origin:
            subscriptions = tuple(one for one in subscriptions if not one.no_local)
            if not subscriptions:
                return False
        qos = min(message.qos, max(one.qos for one in subscriptions))
        retain = message.retain and any(one.retain_as_published for one in subscriptions)
        identifiers = tuple(one.identifier for one in subscriptions if one.identifier)
        session.enqueue(message, qos, retain, identifiers, now_s)
        return True

    def _next_group_member(
        self, group: str, members: tuple[tuple[Session, Subscription], ...]
    ) -> tuple[Session, Subscription]:
        """The member of a shared group that gets the next message: connected ones in rotation, others only where none is."""
        connected = [one for one in members if one[0].link is not None] or members
        position = self._group_positions[group] = self._group_positions.get(group, -1) + 1
        return connected[position % len(connected)]

    def _route(self, topic: str) -> _Route:
        direct: dict[str, tuple[Session, list[Subscription]]] = {}
        groups: dict[str, list[tuple[Session, Subscription]]] = {}
        for session, subscription in self._tree.match(topic):
            if subscription.group is None:
                direct.setdefault(session.client_id, (session, []))[1].append(subscription)
            else:
                groups.setdefault(subscription.full_filter, []).append((session, subscription))
        route = _Route(
            tuple((session, tuple(found)) for session, found in direct.values()),
            tuple((group, tuple(members)) for group, members in groups.items()),
        )
        if len(self._routes) >= ROUTES_MAX:
            self._routes.clear()
        self._routes[topic] = route
        return route

    def publish_will(self, will: Will) -> None:
        """Publishes a will; like any message it goes to the ingest too."""
        properties = {k: v for k, v in (will.properties or {}).items() if k != PropertyId.WILL_DELAY}
        self.publish(make_message(will.topic, will.payload, will.qos, will.retain, properties, self.clock()))
        if self.ingest is not None and self.is_input(will.topic):
            self.ingest.offer([Arrival(will.topic, will.payload, self.ingest.now_ms(), False)], None)

    def _resolve_pending_will(self, client_id: str, *, resumed: bool) -> None:
        """Settles a delayed will of a client that is back: dropped where its session is resumed, published where it ends."""
        waiting = [one for one in self._pending_wills if one[2] == client_id]
        if waiting:
            self._pending_wills = [one for one in self._pending_wills if one[2] != client_id]
            heapq.heapify(self._pending_wills)
        if not resumed:
            for one in waiting:
                self.publish_will(one[3])

    def expire(self) -> None:
        """Publishes wills whose delay is over and ends expired sessions. To be called about once a second."""
        now_s = self.clock()
        while self._pending_wills and self._pending_wills[0][0] <= now_s:
            self.publish_will(heapq.heappop(self._pending_wills)[3])
        for session in [one for one in self.sessions.values() if one.link is None and self._expired(one)]:
            self.end_session(session)

    def _expired(self, session: Session) -> bool:
        if session.link is not None or session.expiry_s == NEVER_S or session.ended_s is None:
            return False
        return session.ended_s + session.expiry_s <= self.clock()


def make_message(
    topic: str, payload: bytes, qos: int, retain: bool, properties: dict[int, object] | None, now_s: float
) -> BrokerMessage:
    """A message, with its expiry interval as a time on the broker's clock."""
    expires_s = None
    if properties and PropertyId.MESSAGE_EXPIRY in properties:
        expires_s = now_s + int(str(properties[PropertyId.MESSAGE_EXPIRY]))
        properties = {k: v for k, v in properties.items() if k != PropertyId.MESSAGE_EXPIRY}
    return BrokerMessage(topic, payload, qos, retain, properties or None, expires_s)


def _subscription_key(session: Session, subscription: Subscription) -> str:
    """Key of a subscription under its filter: a session may have a shared one beside one of its own."""
    return f"{session.client_id}\0{subscription.group or ''}"
