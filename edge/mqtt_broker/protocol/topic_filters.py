"""MQTT topic names and filters: validity, matching, and a tree of filters. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

LEVELS_MAX = 128
SHARE = "$share/"

_Value = TypeVar("_Value")


def valid_topic(topic: str) -> bool:
    """Whether a message may be published to `topic`."""
    return bool(topic) and "+" not in topic and "#" not in topic and topic.count("/") < LEVELS_MAX


def valid_filter(pattern: str) -> bool:
    """Whether `pattern` is a valid topic filter. `$share/<group>/` has to be removed before (`parse_shared`)."""
    levels = pattern.split("/")
    return (
        bool(pattern)
        and len(levels) <= LEVELS_MAX
        and all(level in ("+", "#") or not ("+" in level or "#" in level) for level in levels)
        and "#" not in levels[:-1]
    )


def parse_shared(pattern: str) -> tuple[str | None, str]:
    """(group, filter) of `$share/<group>/<filter>`, (None, pattern) of any other. An invalid group name gives an empty one."""
    if not pattern.startswith(SHARE):
        return None, pattern
    group, _, rest = pattern[len(SHARE) :].partition("/")
    return ("" if "+" in group or "#" in group else group), rest


def matches(pattern: str, topic: str) -> bool:
    """Whether `topic` matches the filter `pattern`. A leading wildcard does not match topics that start with $."""
    if topic.startswith("$") and pattern[:1] in ("+", "#"):
        return False
    levels, names = pattern.split("/"), topic.split("/")
    for place, level in enumerate(levels):
        if level == "#":
            return True
        if place >= len(names) or (level not in ("+", names[place])):
            return False
    return len(levels) == len(names)


class _Node(Generic[_Value]):
    __slots__ = ("children", "values")

    def __init__(self) -> None:
        self.children: dict[str, _Node[_Value]] = {}
        self.values: dict[str, _Value] = {}


class FilterTree(Generic[_Value]):
    """A tree of values by (filter, key), matched by topic."""

    def __init__(self) -> None:
        self._root: _Node[_Value] = _Node()

    def insert(self, pattern: str, key: str, value: _Value) -> None:
        """Inserts `value` at the filter under `key`, or replaces the one that is there."""
        node = self._root
        for level in pattern.split("/"):
            node = node.children.setdefault(level, _Node())
        node.values[key] = value

    def remove(self, pattern: str, key: str) -> None:
        """Removes the value at the filter under `key`, and branches that become empty."""
        path: list[tuple[_Node[_Value], str]] = []
        node = self._root
        for level in pattern.split("/"):
            if level not in node.children:
                return
            path.append((node, level))
            node = node.children[level]
        node.values.pop(key, None)
        while path and not node.values and not node.children:
            node, level = path.pop()
            del node.children[level]

    def match(self, topic: str) -> Iterator[_Value]:
        """The values of every filter that matches `topic`."""
        names = topic.split("/")
        nodes: list[tuple[_Node[_Value], int]] = [(self._root, 0)]
        while nodes:
            node, depth = nodes.pop()
            wild = depth > 0 or not topic.startswith("$")
            if wild and "#" in node.children:
                yield from node.children["#"].values.values()
            if depth == len(names):
                yield from node.values.values()
                continue
            for level in (names[depth], "+") if wild else (names[depth],):
                if level in node.children:
                    nodes.append((node.children[level], depth + 1))
