"""Retained messages: the last of each topic, found by filter. In memory; session_store.py has them on disk."""

from __future__ import annotations

from collections.abc import Iterator

from edge.mqtt_broker.session import BrokerMessage

RETAINED_BYTES_MAX = 256 * 1024 * 1024
"""Most bytes of payload of all retained messages."""


class _Node:
    __slots__ = ("children", "message")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.message: BrokerMessage | None = None


class RetainedMessages:
    """A tree of topic levels with at most `messages_max` messages."""

    def __init__(self, messages_max: int) -> None:
        self.messages_max = messages_max
        self._root = _Node()
        self._count = 0
        self._bytes = 0

    def store(self, message: BrokerMessage) -> bool:
        """Replaces the topic's message; an empty payload removes it. False: a limit is reached, and nothing changed."""
        node = self._root
        for level in message.topic.split("/"):
            node = node.children.setdefault(level, _Node())
        before = 0 if node.message is None else len(node.message.payload)
        full = self._count >= self.messages_max and node.message is None
        if message.payload and (full or self._bytes + len(message.payload) - before > RETAINED_BYTES_MAX):
            self._prune(message.topic)
            return False
        self._count += bool(message.payload) - (node.message is not None)
        self._bytes += len(message.payload) - before
        node.message = message if message.payload else None
        if not message.payload:
            self._prune(message.topic)
        return True

    def match(self, pattern: str) -> Iterator[BrokerMessage]:
        """The messages whose topics match the filter, in the order of their topics."""
        yield from _find(self._root, pattern.split("/"), 0)

    def _prune(self, topic: str) -> None:
        path: list[tuple[_Node, str]] = []
        node = self._root
        for level in topic.split("/"):
            path.append((node, level))
            node = node.children[level]
        while path and node.message is None and not node.children:
            node, level = path.pop()
            del node.children[level]


def _find(node: _Node, levels: list[str], depth: int) -> Iterator[BrokerMessage]:
    if depth == len(levels):
        if node.message is not None:
            yield node.message
        return
    level = levels[depth]
    if level not in ("+", "#"):
        if level in node.children:
            yield from _find(node.children[level], levels, depth + 1)
        return
    if level == "#" and node.message is not None:
        yield node.message
    for name in sorted(node.children):
        if depth == 0 and name.startswith("$"):
            continue
        yield from _find(node.children[name], levels, depth + (level == "+"))
