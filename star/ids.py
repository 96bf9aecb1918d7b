"""Ids of items, needs, reactions and decisions: parsed and written here only.

    item       tank-7/oil                    device and name on the device
    need       tank-7/oil/3                  third need of the item
    reaction   tank-7/oil/3/order/1          first order of the need
    decision   tank-7/oil/3/decision/2       second decision about the need

Ids are derived from names, never from numbers of a registry, so the same readings give the same ids on every machine, and
a retry carries the id of what it repeats. In the log, the store and messages an id is its text. `str(kind.parse(text))`
is `text` for every text that `parse` accepts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from star.errors import MalformedId
from star.react import ID_VERBS, ReactionType

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
"""A counter as ids write it: no sign, no leading zero, and within 64 bits."""
_KINDS = {verb: kind for kind, verb in ID_VERBS.items()}


@dataclass(frozen=True, slots=True)
class ItemId:
    """A slot or a part, or a metric: one named thing of one device. Neither text is empty or holds a slash."""

    device: str
    name: str

    def __post_init__(self) -> None:
        if not self.device or not self.name or "/" in self.device or "/" in self.name:
            raise MalformedId(f"{self.device}/{self.name} is no item: expected device/name")

    def __str__(self) -> str:
        return f"{self.device}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The item of `device/name`. Raises MalformedId."""
        device, _, name = text.partition("/")
        if not device or not name or "/" in name:
            raise MalformedId(f"{text!r} is no item: expected device/name")
        return cls(device, name)


@dataclass(frozen=True, slots=True)
class NeedId:
    """One need of an item; cycle counts the needs of the item from 1."""

    item: ItemId
    cycle: int

    def __str__(self) -> str:
        return f"{self.item}/{self.cycle}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The need of `device/name/cycle`. Raises MalformedId."""
        parts = text.split("/")
        if len(parts) != 3 or not _NUMBER.fullmatch(parts[2]):
            raise MalformedId(f"{text!r} is no need: expected device/name/cycle")
        return cls(ItemId(parts[0], parts[1]), int(parts[2]))


@dataclass(frozen=True, slots=True)
class ReactionId:
    """One reaction to a need; attempt counts those of this kind from 1. A retry of an attempt has the same id."""

    need: NeedId
    kind: ReactionType
    attempt: int

    def __str__(self) -> str:
        return f"{self.need}/{ID_VERBS[self.kind]}/{self.attempt}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The reaction of `device/name/cycle/verb/attempt`. Raises MalformedId."""
        found = cls.try_parse(text)
        if found is None:
            raise MalformedId(f"{text!r} is no reaction: expected device/name/cycle/{'|'.join(_KINDS)}/attempt")
        return found

    @classmethod
    def try_parse(cls, text: str | None) -> Self | None:
        """The reaction of an id that may be another's: None where it is none, or not of this form."""
        parts = [] if text is None else text.split("/")
        if len(parts) != 5 or parts[3] not in _KINDS or not _NUMBER.fullmatch(parts[4]):
            return None
        try:
            return cls(NeedId.parse("/".join(parts[:3])), _KINDS[parts[3]], int(parts[4]))
        except MalformedId:
            return None


@dataclass(frozen=True, slots=True)
class DecisionId:
    """One decision about a need; number counts them from 1."""

    need: NeedId
    number: int

    def __str__(self) -> str:
        return f"{self.need}/decision/{self.number}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The decision of `device/name/cycle/decision/number`. Raises MalformedId."""
        need, mark, number = text.partition("/decision/")
        if not mark or not _NUMBER.fullmatch(number):
            raise MalformedId(f"{text!r} is no decision: expected device/name/cycle/decision/number")
        return cls(NeedId.parse(need), int(number))


def device_of(item: str) -> str:
    """The device of an item's id, without validation: for loops over many valid ids."""
    return item.partition("/")[0]


def name_of(item: str) -> str:
    """The name of an item's id, without validation."""
    return item.partition("/")[2]


def qualified_item(device: str, item: str) -> str:
    """The id of an item that its device may call by its name alone."""
    return item if item.startswith(f"{device}/") else f"{device}/{item}"


def item_of_reaction(reaction: str | None) -> str | None:
    """The id of the item that a reaction is about; None where the reaction's id is not of this form."""
    found = ReactionId.try_parse(reaction)
    return None if found is None else str(found.need.item)
