"""Lines of the telemetry topics and the reactions: forecasts, scores, calibration, decisions, outcomes, reactions, service.

docs/reference/influx.md is the schema. For one fleet a record always gives the same lines; where a record does not name its
customer, the fleet's catalogue does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from config.catalogue import Catalogue
from star.analyse import PUBLISHED_QUANTILES, QUANTILES
from star.errors import BadPayload
from star.times import parse_time_ms
from stream.sinks.line_protocol import Field, integer, line, number, tags, text
from stream.topics import CALIBRATION, DECISIONS, FORECASTS, REACTIONS, SCORES, SERVICE

NO_RULE = "none"
"""Value of the tag `rule` for a decision that no rule refused."""
ITEMS_MAX = 200_000
"""Items whose tag sets are cached; with more, the cache starts again: it bounds memory."""
_SHOWN = tuple((f"q{round(level * 100):02d}", QUANTILES.index(level)) for level in PUBLISHED_QUANTILES)

Row = Mapping[str, Any]


class MeasurementLines:
    """Converts the records of every topic but the input."""

    def __init__(self) -> None:
        self._catalogue: Catalogue | None = None
        self._tag_sets: dict[tuple[str, str | None], bytes] = {}
        self._encoders: dict[str, Callable[[Any], Iterator[bytes | None]]] = {
            FORECASTS: self._forecasts,
            SCORES: self._scores,
            CALIBRATION: self._calibration,
            DECISIONS: self._decisions,
            REACTIONS: self._reaction,
            SERVICE: self._service,
        }

    def lines(self, topic: str, value: bytes, catalogue: Catalogue) -> list[bytes]:
        """The lines of one record. Raises BadPayload where it does not have the topic's schema."""
        if catalogue is not self._catalogue or len(self._tag_sets) > ITEMS_MAX:
            self._catalogue = catalogue
            self._tag_sets.clear()
        try:
            return [one for one in self._encoders[topic](orjson.loads(value)) if one is not None]
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise BadPayload(f"a record of {topic!r} can't be converted for InfluxDB: {error!r}") from error

    def _item_tags(self, item: str, customer: str | None = None) -> bytes:
        """The tags customer, device and item."""
        known = self._tag_sets.get((item, customer))
        if known is None:
            device = item.partition("/")[0]
            owner = customer or self._customer_of(device)
            known = self._tag_sets[item, customer] = tags([("customer", owner), ("device", device), ("item", item)])
        return known

    def _customer_of(self, device: str) -> str | None:
        found = self._catalogue.devices.get(device) if self._catalogue else None
        return found.customer if found else None

    def _forecasts(self, rows: list[Row]) -> Iterator[bytes | None]:
        for row in rows:
            days = row["days"]
            fields = [
                ("level", number(row["level"])),
                *((name, number(days[place])) for name, place in _SHOWN),
                ("rate", number(row["rate_per_day"])),
                ("trust", number(row["trust"])),
            ]
            yield line(b"forecast", self._item_tags(row["item"]), fields, row["at_ms"])

    def _scores(self, rows: list[Row]) -> Iterator[bytes | None]:
        for row in rows:
            life = row["life"] or (None, None, None)
            fields = [
                ("anomaly", number(row["anomaly"])),
                ("alert", integer(bool(row["alert"]))),
                *((f"life_{name}", number(value)) for name, value in zip(("q05", "q50", "q95"), life, strict=True)),
            ]
            yield line(b"score", self._item_tags(row["item"], row.get("customer")), fields, row["at_ms"])

    def _calibration(self, rows: list[Row]) -> Iterator[bytes | None]:
        for row in rows:
            level = float(row["level"])
            fields = [
                ("u", number(level)),
                ("in_90", integer(0.05 <= level <= 0.95)),
                ("in_50", integer(0.25 <= level <= 0.75)),
            ]
            yield line(b"honesty", self._item_tags(row["item"], row.get("customer")), fields, row["at_ms"])

    def _decisions(self, body: Row) -> Iterator[bytes | None]:
        for row in body.get("decisions", ()):
            refusing = next((rule for rule, allowed, *_ in row["rules"] if not allowed), NO_RULE)
            tag_set = self._item_tags(row["item"], row.get("customer"))
            tag_set += tags([("kind", row.get("kind")), ("rule", refusing), ("verdict", row["verdict"])])
            fields = [("count", integer(1)), ("id", text(row["id"]))]
            yield line(b"decision", tag_set, fields, row.get("at_ms", body["at_ms"]))
        for row in body.get("outcomes", ()):
            csat, timing = row.get("csat"), row.get("timing")
            outcome_fields: list[Field] = [
                ("count", integer(1)),
                ("csat", None if csat is None else integer(int(csat))),
                ("id", text(row["id"])),
                ("timing", None if timing is None else text(timing)),
            ]
            tag_set = self._item_tags(row["item"], row.get("customer")) if row.get("item") else b""
            yield line(b"outcome", tag_set + tags([("result", row["result"])]), outcome_fields, row["at_ms"])

    def _reaction(self, event: Row) -> Iterator[bytes | None]:
        data = event["data"]
        tag_set = self._item_tags(f"{data['device']}/{data['item']}", data["customer"])
        tag_set += tags([("supplier", data.get("supplier")), ("type", event["type"])])
        fields: list[Field] = [
            ("id", text(event["id"])),
            ("need", text(data["need"])),
            ("price", number(data.get("price"))),
            ("quantity", number(data.get("quantity"))),
        ]
        yield line(b"reaction", tag_set, fields, parse_time_ms(event["time"], "time"))

    def _service(self, body: Row) -> Iterator[bytes | None]:
        tag_set = tags([("instance", body["instance"]), ("role", body["role"])])
        fields = [(name, number(value)) for name, value in sorted(body["fields"].items())]
        yield line(b"service", tag_set, fields, body["at_ms"])
