"""What comes in becomes records, whole and in order, or goes to quarantine with a reason."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.catalogue import Catalogue
from edge.adapters.canonical import decode_fast, parse_readings
from edge.decoder import KEPT_BYTES_MAX, PAYLOAD_BYTES_MAX, Decoder
from star.errors import BadPayload
from star.records import Quarantined, Request, Tick
from star.repeat import Outcome
from star.sense import Readings

TOPIC = "starloop/v1/tank-7/telemetry"
NOW_MS = 1_764_000_000_000


def reason(decoder: Decoder, payload: bytes, topic: str = TOPIC) -> str:
    decoder.ingest(topic, payload, NOW_MS)
    (record,) = decoder.drain()
    assert isinstance(record, Quarantined)
    assert record.at_ms == NOW_MS
    assert record.topic == topic
    return record.reason


def test_two_values_of_a_device_become_two_rows(decoder: Decoder, names: Any) -> None:
    """Every column holds what the message said; a missing boot is -1."""
    payload = b'{"at": 1764000000.25, "seq": 17, "values": {"oil": 812.5, "temperature": 11}}'
    for _ in range(2):  # the second time by the fast way
        decoder.ingest(TOPIC, payload, NOW_MS)
        (batch,) = decoder.drain()
        assert isinstance(batch, Readings)
        assert [names.name(n) for n in batch.metric.tolist()] == ["tank-7/oil", "tank-7/temperature"]
        assert batch.value.tolist() == [812.5, 11.0]
        assert batch.at_ms.tolist() == [1764000000250] * 2
        assert batch.arrived_ms.tolist() == [NOW_MS] * 2
        assert (batch.boot.tolist(), batch.seq.tolist()) == ([-1, -1], [17, 17])


def test_readings_between_two_events_are_one_batch_in_order_of_arrival(decoder: Decoder) -> None:
    """Records come out in the order in which their messages came in."""
    for value in (1, 2):
        decoder.ingest(TOPIC, b'{"values": {"oil": %d}}' % value, NOW_MS)
    decoder.ingest("starloop/v1/tank-7/requests", b'{"id": "r1", "item": "oil"}', NOW_MS + 1)
    decoder.ingest(TOPIC, b"?", NOW_MS + 2)
    decoder.ingest(TOPIC, b'[{"values": {"oil": 3}}, {"values": {"oil": 4}}]', NOW_MS + 3)
    decoder.append(Tick(at_ms=NOW_MS + 4))
    records = decoder.drain()
    assert [type(r) for r in records] == [Readings, Request, Quarantined, Readings, Tick]
    assert isinstance(records[0], Readings)
    assert isinstance(records[3], Readings)
    assert (records[0].value.tolist(), records[3].value.tolist()) == ([1, 2], [3, 4])
    assert decoder.drain() == []


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not UTF-8: byte 0 is 0xff"),
        (b'{"note": "\xff", "values": {"oil": 1}}', "not UTF-8"),
        (b"[]", "empty list"),
        (b"3", "the payload is 3: expected an object"),
        (b"{}", "values is missing"),
        (b'{"values": {}}', "values is empty"),
        (b'{"values": [1]}', "values is a list"),
        (b'{"values": {"oil": NaN}}', "NaN is no JSON number"),
        (b'{"values": {"oil": -Infinity}}', "-Infinity is no JSON number"),
        (b'{"values": {"oil": 1e999}}', "values.oil is Infinity: expected a finite number"),
        (b'{"values": {"oil": 1' + b"0" * 400 + b"}}", "values.oil is an integer of 1329 bits: expected a finite"),
        (b'{"values": {"oil": "full"}}', 'values.oil is "full": expected a number'),
        (b'{"values": {"oil": true}}', "values.oil is true: expected a number"),
        (b'{"values": {"oil": null}}', "values.oil is null: expected a number"),
        (b'[{"values": {"oil": 1}}, {"values": {"oil": "x"}}]', '[1].values.oil is "x"'),
        (b'{"values": {"oil": 1}, "seq": 9223372036854775808}', "seq is 9223372036854775808: expected an integer"),
        (b'{"values": {"oil": 1}, "boot": -1}', "boot is -1"),
        (b'{"values": {"oil": 1}, "at": "yesterday"}', "at is 'yesterday': expected an RFC 3339 time"),
        (b'{"values": {"oil": 1}, "at": 1764000000000}', "at is 1764000000000: expected epoch seconds"),
        (b'{"values": {"a/b": 1}}', 'the name "a/b"'),
        (b'{"values": {"": 1}}', 'the name ""'),
        (b'{"values": {"\\ud800": 1}}', "the name"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b', "values": {"oil": 1}}', "nested too deep"),
    ],
)
def test_what_cannot_be_read_is_quarantined_with_its_field(decoder: Decoder, payload: bytes, said: str) -> None:
    """The reason names the field, what was found and what was expected; nothing of the payload is taken."""
    decoder.ingest(TOPIC, b'{"values": {"oil": 1}}', NOW_MS)
    decoder.drain()
    assert said in reason(decoder, payload)
    assert decoder.ingested == 1


@pytest.mark.parametrize("value", [b"-40", b"99999999", b"1e300", b"-0.0", b"5e-324", b"18446744073709551616"])
@pytest.mark.parametrize("at", [b"0", b"-1", b"4102444800", b'"1970-01-01T00:00:00Z"', b'"2100-01-01T00:00:00+01:00"'])
def test_implausible_readings_pass_unchanged_through_the_decoder(decoder: Decoder, value: bytes, at: bytes) -> None:
    """A negative level, one over capacity, a time in 1970 or 2100: kept as they are, by both ways."""
    for _ in range(2):
        decoder.ingest(TOPIC, b'{"at": %s, "values": {"oil": %s}}' % (at, value), NOW_MS)
    (batch,) = decoder.drain()
    assert isinstance(batch, Readings)
    assert batch.value.tolist() == [float(value)] * 2


def test_an_unknown_device_or_topic_is_named_in_the_reason(decoder: Decoder) -> None:
    """Nothing is dropped in silence."""
    assert 'the device is "tank-8"' in reason(decoder, b'{"values": {"oil": 1}}', "starloop/v1/tank-8/telemetry")
    assert 'the topic is "home/oil"' in reason(decoder, b"1", "home/oil")
    assert "the device is" in reason(decoder, b"online", "starloop/v1/tank-8/status")
    assert 'the status is "gone"' in reason(decoder, b"gone", "starloop/v1/tank-7/status")


def test_a_huge_payload_is_quarantined_with_its_length_and_hash(decoder: Decoder) -> None:
    """Of 10 MB only the named limit is kept; the reason identifies the whole."""
    payload = b"x" * 10_000_000
    decoder.ingest(TOPIC, payload, NOW_MS)
    (record,) = decoder.drain()
    assert isinstance(record, Quarantined)
    assert len(record.payload) == KEPT_BYTES_MAX
    assert f"10000000 bytes: expected at most {PAYLOAD_BYTES_MAX}" in record.reason
    assert "sha256 0c9a42b3d065a640" in record.reason


def test_a_device_with_too_many_value_names_is_refused_and_leaves_no_names(decoder: Decoder, names: Any) -> None:
    """256 names a device, over all its messages; a refused payload numbers nothing."""
    decoder.ingest(TOPIC, json.dumps({"values": {f"v{n}": n for n in range(256)}}).encode(), NOW_MS)
    decoder.drain()
    assert "257 names" in reason(decoder, b'{"values": {"v0": 1, "one-more": 2}}')
    assert "tank-7/one-more" not in names.numbers


def test_a_device_that_leaves_the_fleet_is_unknown_from_the_next_message_on(
    decoder: Decoder, catalogue: Catalogue
) -> None:
    """Setting the catalogue takes effect at once, on the fast way too."""
    decoder.ingest(TOPIC, b'{"values": {"oil": 1}}', NOW_MS)
    decoder.drain()
    decoder.catalogue = Catalogue(
        customers=catalogue.customers,
        devices={},
        suppliers={},
        profiles=catalogue.profiles,
        slots={},
        parts={},
    )
    assert "the device is" in reason(decoder, b'{"values": {"oil": 1}}')


def test_an_outcome_and_a_request_name_the_item_on_the_topics_device(decoder: Decoder) -> None:
    """Over MQTT `item` is the name on the device; in the record it is device/name."""
    said = {"id": "o1", "item": "oil", "result": "refilled", "quantity": 500, "feedback": {"timing": "late", "nps": 9}}
    decoder.ingest("starloop/v1/tank-7/outcomes", json.dumps(said).encode(), NOW_MS)
    decoder.ingest("starloop/v1/tank-7/requests", b'{"id": "r1", "item": "oil", "quantity": 200}', NOW_MS)
    assert decoder.drain() == [
        Outcome(
            at_ms=NOW_MS,
            arrived_ms=NOW_MS,
            id="o1",
            item="tank-7/oil",
            result="refilled",
            quantity=500.0,
            timing="late",
            nps=9,
        ),
        Request(at_ms=NOW_MS, id="r1", item="tank-7/oil", quantity=200.0),
    ]


def test_accepting_needs_credentials_that_may_spend(decoder: Decoder) -> None:
    """A device's own credentials can't accept an offer; they can say that something was delivered."""
    said = {"id": "o1", "reaction": "tank-7/oil/1/offer/1", "result": "accepted"}
    decoder.ingest("starloop/v1/tank-7/outcomes", json.dumps(said).encode(), NOW_MS, may_accept=False)
    decoder.ingest(
        "starloop/v1/tank-7/outcomes", json.dumps({**said, "result": "done"}).encode(), NOW_MS, may_accept=False
    )
    refused, taken = decoder.drain()
    assert isinstance(refused, Quarantined)
    assert "spends money" in refused.reason
    assert isinstance(taken, Outcome)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"item": "tank-7/oil", "result": "refilled"}, "id is missing"),
        ({"id": "", "item": "tank-7/oil", "result": "refilled"}, "id is empty"),
        ({"id": 7, "item": "tank-7/oil", "result": "refilled"}, "id is 7: expected a text"),
        ({"id": "\ud800", "item": "tank-7/oil", "result": "refilled"}, "half surrogate"),
        ({"id": "o", "item": "tank-7/oil"}, "result is missing: expected one of accepted"),
        ({"id": "o", "item": "tank-7/oil", "result": "eaten"}, 'result is "eaten"'),
        ({"id": "o", "item": "tank-7/gas", "result": "refilled"}, 'item is "tank-7/gas"'),
        ({"id": "o", "result": "refilled"}, "item is missing"),
        ({"id": "o", "item": "tank-7/oil", "result": "done"}, "without a reaction: expected one of refilled, serviced"),
        ({"id": "o", "reaction": "tank-7/oil/1/order/1", "result": "refilled"}, "about a reaction: expected one of"),
        ({"id": "o", "reaction": "tank-7/oil/1/ordered/1", "result": "done"}, "expected the id of a reaction"),
        ({"id": "o", "reaction": "tank-9/oil/1/order/1", "result": "done"}, "expected the id of a reaction"),
        ({"id": "o", "item": "tank-7/oil", "result": "refilled", "quantity": math.nan}, "quantity is NaN"),
        ({"id": "o", "item": "tank-7/oil", "result": "refilled", "quantity": -1}, "quantity is -1"),
        ({"id": "o", "item": "tank-7/oil", "result": "refilled", "at": "x"}, "at is 'x'"),
        ({"id": "o", "item": "tank-7/oil", "result": "refilled", "feedback": [1]}, "feedback is a list"),
        ({"id": "o", "item": "tank-7/oil", "result": "refilled", "feedback": {"csat": 6}}, "feedback.csat is 6"),
        ({"id": "o", "item": "tank-7/oil", "result": "refilled", "feedback": {"nps": 1.5}}, "feedback.nps is 1.5"),
        ({"id": "o", "item": "tank-7/oil", "result": "refilled", "feedback": {"timing": "soon"}}, "feedback.timing"),
        ({"id": "o", "item": "tank-7/oil", "result": "refilled", "feedback": {"text": 1}}, "feedback.text is 1"),
        ("accepted", 'an outcome is "accepted": expected an object'),
    ],
)
def test_an_invalid_outcome_names_the_field(decoder: Decoder, said: object, expected: str) -> None:
    """Parsed outcomes (replay, HTTP) raise the reason; nothing is taken."""
    with pytest.raises(BadPayload) as caught:
        decoder.ingest_outcome(said, NOW_MS)
    assert expected in str(caught.value)
    assert decoder.drain() == []


def test_an_outcome_over_mqtt_is_about_its_own_device_only(decoder: Decoder) -> None:
    """A reaction of another device is refused on this device's topic."""
    said = b'{"id": "o", "reaction": "tank-7/oil/1/order/1", "result": "delivered"}'
    assert "the topic's own device pump-1" in reason(decoder, said, "starloop/v1/pump-1/outcomes")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"supplier": "acme"}, "both missing"),
        ({"supplier": "zenith", "price": 1}, 'supplier is "zenith"'),
        ({"supplier": "acme", "price": -1}, "price is -1"),
        ({"supplier": "acme", "lead_time_days": [3]}, "lead_time_days is a list"),
        ({"supplier": "acme", "lead_time_days": [3, 2]}, "ascending"),
        ({"supplier": "acme", "lead_time_days": [0, 2]}, "above 0"),
        ({"supplier": "acme", "lead_time_days": ["a", 2]}, 'lead_time_days[0] is "a"'),
    ],
)
def test_invalid_supplier_terms_name_the_field(decoder: Decoder, said: object, expected: str) -> None:
    """A supplier's terms are checked like outcomes."""
    with pytest.raises(BadPayload) as caught:
        decoder.ingest_supplier_terms(said, NOW_MS)
    assert expected in str(caught.value)


@given(
    st.dictionaries(
        st.sampled_from(["oil", "t", "a b", "x" * 129, "$x", "é", "\u200b"]),
        st.one_of(st.floats(allow_nan=False), st.integers(), st.booleans(), st.none(), st.text(max_size=3)),
        max_size=3,
    ),
    st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(), st.text(max_size=5)),
    st.one_of(st.none(), st.integers(), st.floats(0, 9)),
)
def test_the_fast_path_accepts_nothing_that_the_slow_path_refuses(values: Any, at: Any, seq: Any) -> None:
    """Both ways of reading canonical telemetry agree wherever the fast one speaks (names are checked when they are new)."""
    said = {"values": values, "at": at, "seq": seq}
    try:
        fast = decode_fast(json.dumps(said).encode())
    except ValueError:
        return
    try:
        (careful,) = parse_readings("d", said)
    except BadPayload as error:
        # What the fast way leaves to the intake: emptiness, the range of times, and names.
        assert any(hint in str(error) for hint in ("values is empty", "at is", "the name"))  # noqa: PT017
        return
    assert dict(careful.values) == fast.values
    assert careful.seq == (-1 if fast.seq is None else fast.seq)
