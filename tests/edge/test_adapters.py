"""Devices' dialects are read as their standards say, and refused with a reason where they can't be."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.adapters import decode_payload, installed_adapters
from edge.adapters.senml import LABELS
from edge.decoder import Decoder
from star.errors import BadPayload
from star.records import Quarantined
from star.sense import Readings

TOPIC = "starloop/v1/tank-7/telemetry"
NOW_MS = 1_784_000_000_000
CASES = json.loads((Path(__file__).parents[1] / "data" / "senml_rfc8428.json").read_text())["cases"]
NUMBERS = {label: number for number, label in LABELS.items()}


def cbor(pack: list[dict[str, Any]]) -> bytes:
    return cbor2.dumps([{NUMBERS[label]: value for label, value in record.items()} for record in pack])


def read(payload: bytes) -> tuple[str, list[Any]]:
    found = decode_payload(installed_adapters(), TOPIC, payload, NOW_MS)
    assert found is not None
    return found


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
@pytest.mark.parametrize("write", [lambda pack: json.dumps(pack).encode(), cbor], ids=["json", "cbor"])
def test_the_examples_of_the_standard_are_read_as_it_resolves_them(case: dict[str, Any], write: Any) -> None:
    """Times and values as RFC 8428 says; names without what names the device; no texts, booleans or data."""
    name, readings = read(write(case["pack"]))
    assert name == "senml"
    assert [[r.at_ms, dict(r.values)] for r in readings] == case["readings"]
    assert [one for r in readings for one in r.ignored] == case.get("ignored", [])


@pytest.mark.parametrize(
    ("base", "own"),
    [
        ("", "oil"),
        ("", "tank-7/oil"),
        ("", "urn:dev:mac:0024befffe804ff1/oil"),
        ("", "urn:dev:ow:10e2073a0108006_oil"),
        ("urn:dev:ow:10e2073a0108006:", "oil"),
        ("tank-7:", "oil"),
        ("tank-7.", "oil"),
        ("cellar/tank-7/", "oil"),
        ("oil", ""),
    ],
)
def test_a_pack_whose_names_end_in_the_slots_name_feeds_the_slot(base: str, own: str) -> None:
    """However the device writes its own name before it, the value is named oil."""
    ((reading,),) = (read(json.dumps([{"bn": base, "n": own, "u": "l", "v": 3}]).encode())[1],)
    assert dict(reading.values) == {"oil": 3.0}
    assert dict(reading.units) == {"oil": "l"}


def test_relative_times_count_from_the_arrival_and_sums_become_totals() -> None:
    """t below 2^28 is relative to now; s is a counter, its unit integrated over seconds; bases add up."""
    pack = [{"bn": "w:", "bv": 10, "bs": 100, "bu": "l/s", "n": "water", "v": 1, "s": 5, "t": -60}]
    ((reading,),) = (read(json.dumps(pack).encode())[1],)
    assert reading.at_ms == NOW_MS - 60_000
    assert dict(reading.values) == {"water": 11.0, "water_total": 105.0}
    assert dict(reading.units) == {"water": "l/s", "water_total": "l"}


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b'[{"n": "oil", "v": "3"}]', '[0].v is "3": expected a number'),
        (b'[{"n": "oil", "v": 1e999}]', "[0].v is Infinity"),
        (b'[{"v": 3}]', "[0] has no name"),
        (b'[{"n": 3, "v": 3}]', "[0].n is 3: expected a text"),
        (b'[{"n": "oil", "v": 3, "t": true}]', "[0].t is true"),
        (b'[{"n": "oil", "v": 3, "t": 1e15}]', "t is 1000000000000000.0"),
        (b'[{"n": "oil", "vs": "full"}]', "holds no number"),
        (b'[{"n": "oil", "v": 3}, 4]', "[1] is 4: expected a record"),
        (b'[{"n": "oil", "v": 3, "bver": 11}]', "bver is 11"),
        (b'[{"n": "oil", "v": 3, "new_": 1}]', 'the label "new_", which must be understood'),
        (b'[{"bn": "x", "bv": 1e308, "v": 1e308}]', "[0].v with its base is Infinity"),
        (b"\x81", "not CBOR"),
        (b"\x81\xa2\x00\x63oil\x02\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00", "[0].v is NaN"),
        (cbor([{"n": "oil", "v": 1}]) + b"\x00", "there is more after the pack"),
        (b"\x81" * 100_000, "nesting depth"),
        (b"\x9b\x00\xff\xff\xff\xff\xff\xff\xff", "not CBOR"),
    ],
)
def test_a_pack_that_cannot_be_read_names_the_record(payload: bytes, said: str) -> None:
    """The record and the label are named."""
    with pytest.raises(BadPayload) as caught:
        read(payload)
    assert said in str(caught.value)


def test_a_device_may_use_both_formats_on_one_topic(decoder: Decoder) -> None:
    """A list of canonical messages is not taken for a pack, nor a pack for canonical messages."""
    decoder.ingest(TOPIC, b'[{"values": {"oil": 1, "v": 2}}]', NOW_MS)
    decoder.ingest(TOPIC, b'[{"n": "oil", "v": 3}]', NOW_MS)
    decoder.ingest(TOPIC, cbor([{"n": "values", "v": 4}]), NOW_MS)
    decoder.ingest(TOPIC, b'[{"n": "values", "v": 5}]', NOW_MS)
    (batch,) = decoder.drain()
    assert isinstance(batch, Readings)
    assert batch.value.tolist() == [1, 2, 3, 4, 5]


@given(st.binary(max_size=200), st.sampled_from([b"", b"[", b"\x81", b"\x9f", b'[{"n":"oil","v":']))
def test_garbage_is_read_or_refused_with_a_reason(garbage: bytes, head: bytes) -> None:
    """Nothing but BadPayload ever comes out of the adapters."""
    with suppress(BadPayload):
        read(head + garbage)


_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda children: st.one_of(
        st.lists(children, max_size=3), st.dictionaries(st.text(max_size=3), children, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from([*NUMBERS, "values", "at"]), _json, max_size=4), max_size=3))
def test_any_json_shaped_like_a_pack_is_read_or_refused(pack: list[Any]) -> None:
    """The same, with labels in the right place and anything under them, in both forms."""
    writes = [json.dumps(pack).encode(), cbor2.dumps([{NUMBERS.get(k, k): v for k, v in r.items()} for r in pack])]
    for payload in writes:
        with suppress(BadPayload):
            read(payload)


def test_a_refused_pack_adds_no_reading(decoder: Decoder) -> None:
    """One bad record spoils the pack, and the pack only."""
    decoder.ingest(TOPIC, b'[{"n": "oil", "v": 1}, {"n": "oil", "v": "x"}]', NOW_MS)
    (record,) = decoder.drain()
    assert isinstance(record, Quarantined)
    assert decoder.ingested == 0
