"""Events of customers and suppliers: outcomes, requests and terms, parsed alike from MQTT, HTTP and replay.

Each function takes JSON values and returns a record, or raises BadPayload naming the field, its value and what was
expected. Whether an outcome fits the state of its need is decided by the reactor.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Literal, TypeVar

from edge.adapters.base import abbreviate, number
from star.errors import BadPayload
from star.ids import ReactionId, qualified_item
from star.records import Request, SupplierTerms
from star.repeat import RESULTS, Outcome, Result
from star.times import parse_time_ms

ID_CHARS_MAX = 256
TEXT_CHARS_MAX = 4_000
ITEM_RESULTS: tuple[Result, ...] = ("refilled", "serviced")
"""Results about an item; all others are about a reaction."""
TIMINGS: tuple[Literal["early", "right", "late"], ...] = ("early", "right", "late")
SURVEY_SCALES = {"csat": (1, 5), "nps": (0, 10), "ces": (1, 5)}

_Choice = TypeVar("_Choice", bound=str)


def parse_outcome(body: object, arrived_ms: int, items: Container[str], device: str | None = None) -> Outcome:
    """An outcome. items: every known `device/name`. device: the only device whose items it may be about, and `item` may
    then be the name on that device; None: any. Raises BadPayload."""
    body = _as_object(body, "an outcome")
    feedback = _as_object(body.get("feedback") or {}, "feedback")
    result = _one_of(body.get("result"), "result", RESULTS)
    reaction = None if body.get("reaction") is None else _reaction(body["reaction"], items, device)
    item = None if reaction is not None else _item(body.get("item"), items, device)
    if (reaction is None) != (result in ITEM_RESULTS):
        expected = [r for r in RESULTS if (r in ITEM_RESULTS) == (reaction is None)]
        about = "without a reaction" if reaction is None else "about a reaction"
        raise BadPayload(f"result is {abbreviate(result)} {about}: expected one of {', '.join(expected)}")
    at = body.get("at")
    return Outcome(
        at_ms=arrived_ms if at is None else parse_time_ms(at),
        arrived_ms=arrived_ms,
        id=_id(body.get("id"), "id"),
        result=result,
        reaction=reaction,
        item=item,
        quantity=_quantity(body.get("quantity")),
        timing=None if feedback.get("timing") is None else _one_of(feedback["timing"], "feedback.timing", TIMINGS),
        csat=_survey_score(feedback, "csat"),
        nps=_survey_score(feedback, "nps"),
        ces=_survey_score(feedback, "ces"),
        text=None if feedback.get("text") is None else _text(feedback["text"], "feedback.text", TEXT_CHARS_MAX),
    )


def parse_request(body: object, arrived_ms: int, items: Container[str], device: str | None = None) -> Request:
    """A customer's request; arguments as `parse_outcome`'s. Raises BadPayload."""
    body = _as_object(body, "a request")
    return Request(
        at_ms=arrived_ms,
        id=_id(body.get("id"), "id"),
        item=_item(body.get("item"), items, device),
        quantity=_quantity(body.get("quantity")),
    )


def parse_supplier_terms(body: object, arrived_ms: int, suppliers: Container[str]) -> SupplierTerms:
    """A supplier's price (money, of one pack), lead time (10 % and 90 % quantiles, days), or both. Raises BadPayload."""
    body = _as_object(body, "a supplier's terms")
    supplier = _id(body.get("supplier"), "supplier")
    if supplier not in suppliers:
        raise BadPayload(f"supplier is {abbreviate(supplier)}: expected the id of a supplier of the fleet")
    price = None if body.get("price") is None else _non_negative(body["price"], "price")
    lead_time = None if body.get("lead_time_days") is None else _lead_time(body["lead_time_days"])
    if price is None and lead_time is None:
        raise BadPayload("price and lead_time_days are both missing: expected one of them, or both")
    return SupplierTerms(at_ms=arrived_ms, supplier=supplier, price=price, lead_time_days=lead_time)


def _as_object(body: object, path: str) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise BadPayload(f"{path} is {abbreviate(body)}: expected an object")
    return body


def _text(value: object, path: str, chars_max: int) -> str:
    if not isinstance(value, str) or len(value) > chars_max:
        raise BadPayload(f"{path} is {abbreviate(value)}: expected a text of at most {chars_max} characters")
    if "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise BadPayload(f"{path} is {abbreviate(value)}: expected a text without NUL and half surrogate pairs")
    return value


def _id(value: object, path: str) -> str:
    if value is None or value == "":
        raise BadPayload(f"{path} is {'missing' if value is None else 'empty'}: expected a text that is not empty")
    text = _text(value, path, ID_CHARS_MAX)
    if not text.isprintable() or text.isspace():
        raise BadPayload(f"{path} is {abbreviate(value)}: expected printable characters")
    return text


def _one_of(value: object, path: str, choices: tuple[_Choice, ...]) -> _Choice:
    for choice in choices:
        if value == choice:
            return choice
    found = "missing" if value is None else abbreviate(value)
    raise BadPayload(f"{path} is {found}: expected one of {', '.join(choices)}")


def _item(value: object, items: Container[str], device: str | None) -> str:
    item = _id(value, "item")
    if device is not None:
        item = qualified_item(device, item)
    if item not in items:
        expected = "an item of the fleet, as device/name" if device is None else f"the name of an item of {device}"
        raise BadPayload(f"item is {abbreviate(value)}: expected {expected}")
    return item


def _reaction(value: object, items: Container[str], device: str | None) -> str:
    reaction = _id(value, "reaction")
    found = ReactionId.try_parse(reaction)
    if found is None or str(found.need.item) not in items:
        raise BadPayload(f"reaction is {abbreviate(value)}: expected the id of a reaction about an item of the fleet")
    if device is not None and found.need.item.device != device:
        raise BadPayload(f"reaction is {abbreviate(value)}: expected one about the topic's own device {device}")
    return reaction


def _non_negative(value: object, path: str) -> float:
    result = number(value, path)
    if result < 0:
        raise BadPayload(f"{path} is {abbreviate(value)}: expected a number of 0 or more")
    return result


def _quantity(value: object) -> float | None:
    return None if value is None else _non_negative(value, "quantity")


def _lead_time(value: object) -> tuple[float, float]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise BadPayload(
            f"lead_time_days is {abbreviate(value)}: expected two numbers, the 10 % and 90 % quantiles in days"
        )
    low, high = (number(days, f"lead_time_days[{place}]") for place, days in enumerate(value))
    if not 0 < low <= high:
        raise BadPayload(f"lead_time_days is [{low}, {high}]: expected two numbers above 0 in ascending order")
    return low, high


def _survey_score(feedback: Mapping[str, Any], name: str) -> int | None:
    value = feedback.get(name)
    if value is None:
        return None
    low, high = SURVEY_SCALES[name]
    result = number(value, f"feedback.{name}")
    if not result.is_integer() or not low <= result <= high:
        raise BadPayload(f"feedback.{name} is {abbreviate(value)}: expected an integer from {low} to {high}")
    return int(result)
