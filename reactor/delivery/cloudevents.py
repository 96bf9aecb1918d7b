"""Reactions as CloudEvents 1.0 in JSON, as they are sent over MQTT and to suppliers.

Equal reactions give equal bytes, so that a retry can be recognised by its content as well as by its id. Source: CloudEvents
1.0.2, JSON format, structured mode.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from star.react import Reaction
from star.times import utc

CONTENT_TYPE = "application/cloudevents+json"
"""Media type of an event in structured mode."""


def cloud_event(reaction: Reaction) -> dict[str, Any]:
    """The event's members. `id` and `source` together are unique; `subject` is the item, `device/name`."""
    return {
        "specversion": "1.0",
        "id": reaction.id,
        "source": f"/starloop/v1/{quote(reaction.device, safe='')}",
        "type": str(reaction.type),
        "subject": f"{reaction.device}/{reaction.item}",
        "time": utc(reaction.at_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": reaction.event_data(),
    }


def event_bytes(reaction: Reaction) -> bytes:
    """The event as UTF-8 JSON without white space, members in the order of `cloud_event`. Raises ValueError for NaN."""
    return json.dumps(cloud_event(reaction), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
