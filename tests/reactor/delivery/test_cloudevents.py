"""A reaction as a CloudEvent, judged by the rules of the CloudEvents 1.0 specification and of its JSON format."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from reactor.delivery.cloudevents import cloud_event, event_bytes
from star.react import ReactionType
from star.times import parse_time_ms
from tests.support.delivery_fleet import START_MS, reaction_of

_TEXT = {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"}
_REQUIRED = {"specversion", "id", "source", "type"}


def broken_rules(event: dict[str, Any]) -> list[str]:
    """The rules of the specification that an event in JSON breaks."""
    broken = [f"{name} is required" for name in sorted(_REQUIRED - event.keys())]
    broken += [
        f"{name} is not a non-empty text"
        for name in _TEXT & event.keys()
        if not (isinstance(event[name], str) and event[name])
    ]
    broken += [f"{name} is no attribute name" for name in event if not re.fullmatch(r"[a-z0-9]{1,20}", name)]
    if event.get("specversion") != "1.0":
        broken.append("specversion is not 1.0")
    if (
        not re.fullmatch(r"[\x21-\x7e]+", event.get("source", ""))
        or urlsplit(event["source"]).geturl() != event["source"]
    ):
        broken.append("source is no URI-reference")
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", event.get("time", "")):
        broken.append("time is not RFC 3339")
    if not re.fullmatch(r"[\w.+-]+/[\w.+-]+", event.get("datacontenttype", "")):
        broken.append("datacontenttype is no media type")
    if "data" in event and "data_base64" in event:
        broken.append("data and data_base64 are both there")
    return broken


@pytest.mark.parametrize("kind", list(ReactionType))
def test_every_kind_of_reaction_is_an_event_that_any_cloudevents_reader_takes(kind: ReactionType) -> None:
    """No rule of the specification is broken, and type, id, subject and data are the reaction's."""
    reaction = reaction_of(kind)
    event = json.loads(event_bytes(reaction))
    assert broken_rules(event) == []
    assert (event["id"], event["type"], event["subject"]) == (reaction.id, str(kind), "tank-7/oil")
    assert event["data"] == json.loads(json.dumps(reaction.event_data()))


def test_a_device_with_a_name_of_its_own_language_still_has_a_valid_source() -> None:
    """The source is percent-encoded; the subject and the id keep the name as it is."""
    event = cloud_event(reaction_of(device="Küche-冷蔵庫?x"))
    assert broken_rules(event) == []
    assert event["subject"] == "Küche-冷蔵庫?x/oil"


def test_the_time_of_the_event_is_the_moment_of_the_decision() -> None:
    """To the millisecond, in UTC."""
    event = cloud_event(reaction_of(at_ms=START_MS + 7))
    assert parse_time_ms(event["time"]) == START_MS + 7
    assert datetime.fromisoformat(event["time"]).utcoffset() is not None


def test_the_same_reaction_is_the_same_bytes() -> None:
    """A retry can be compared byte for byte; text stays readable."""
    wire = event_bytes(reaction_of())
    assert wire == event_bytes(reaction_of())
    assert "–".encode() in wire


def test_a_reaction_that_holds_nan_never_leaves_the_house() -> None:
    """NaN is no JSON: it raises instead of being written."""
    with pytest.raises(ValueError, match="JSON"):
        event_bytes(reaction_of(price=float("nan")))
