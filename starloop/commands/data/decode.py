"""`starloop decode`: decodes a payload with the installed adapters, without a running service.

It shows the readings that the service would ingest, or why it would quarantine the payload. Nothing is stored.
"""

from __future__ import annotations

import base64
import binascii
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from config.catalogue import Catalogue
from config.fleet_file import load_catalogue
from edge.adapters import Adapter, DecodedReading, adapter_named, decode_payload, installed_adapters
from edge.adapters.base import abbreviate, check_value_name, parse_json
from edge.decoder import PAYLOAD_BYTES_MAX
from star.errors import BadPayload, InputError, UsageError
from star.times import epoch_seconds, parse_time_ms


@click.command()
@click.option("--adapter", "adapter_name", help="Use this adapter.  [default: the first that matches]")
@click.option("--topic", help="Topic of the payload.")
@click.option("--fleet", type=click.Path(path_type=Path), help="Fleet file: devices must be in it; it provides units.")
@click.option("--at", help="Arrival time, used for payloads without a time.  [default: now]")
@click.option(
    "--jsonl", is_flag=True, help='Read lines {"topic", "payload_base64"}; write one line for each, in order.'
)
@click.argument("file", required=False, type=click.Path(path_type=Path))
def command(
    adapter_name: str | None, topic: str | None, fleet: Path | None, at: str | None, jsonl: bool, file: Path | None
) -> int:
    """Decode a payload, and print its readings as JSON.

        The payload is read from FILE or standard input. One that the service would quarantine is printed with the reason; the
    exit status is then 1.
    """
    if (topic is None) != jsonl:
        raise UsageError("expected one of --topic and --jsonl")
    installed = installed_adapters()
    preview = _DecodePreview(
        installed if adapter_name is None else adapter_named(installed, adapter_name),
        None if fleet is None else load_catalogue(fleet),
        _arrival_ms(at),
    )
    if jsonl:
        for line in _lines(file):
            click.echo(json.dumps(preview.decode_line(line), ensure_ascii=False))
        return 0
    result = preview.decode_payload(str(topic), _read_all(file))
    click.echo(json.dumps(result, ensure_ascii=False))
    return 1 if result.get("type") == "quarantined" else 0


class _DecodePreview:
    """Decodes payloads with adapters, an optional fleet, and a fixed arrival time."""

    def __init__(self, adapters: Mapping[str, Adapter], catalogue: Catalogue | None, arrived_ms: int) -> None:
        self._adapters = adapters
        self._catalogue = catalogue
        self._arrived_ms = arrived_ms

    def decode_line(self, line: bytes) -> dict[str, Any]:
        """Result for one line of --jsonl."""
        try:
            fields = parse_json(line)
            if not isinstance(fields, dict) or not isinstance(fields.get("topic"), str):
                raise BadPayload('not a line of the form {"topic": …, "payload_base64": …}')
            payload = base64.b64decode(fields["payload_base64"], validate=True)
        except (KeyError, TypeError, binascii.Error, BadPayload) as error:
            reason = str(error) if isinstance(error, BadPayload) else "payload_base64 is missing or not base64"
            return {"type": "quarantined", "topic": None, "reason": reason}
        return self.decode_payload(fields["topic"], payload)

    def decode_payload(self, topic: str, payload: bytes) -> dict[str, Any]:
        """Result for one payload: its readings and adapter, or the reason of its quarantine."""
        try:
            if len(payload) > PAYLOAD_BYTES_MAX:
                raise BadPayload(f"the payload has {len(payload)} bytes: expected at most {PAYLOAD_BYTES_MAX}")
            found = decode_payload(self._adapters, topic, payload, self._arrived_ms)
            if found is None:
                raise BadPayload(f"no adapter knows the topic {abbreviate(topic)} with such a payload")
            adapter, readings = found
            self._check(readings)
        except BadPayload as error:
            return {"type": "quarantined", "topic": topic, "reason": str(error)}
        return self._shown(readings) | {"adapter": adapter}

    def _check(self, readings: Sequence[DecodedReading]) -> None:
        for reading in readings:
            if self._catalogue is not None and reading.device not in self._catalogue.devices:
                raise BadPayload(
                    f"the device is {abbreviate(reading.device)}: expected the id of a device of the fleet"
                )
            for name in reading.values:
                check_value_name(name)

    def _shown(self, readings: Sequence[DecodedReading]) -> dict[str, Any]:
        """One reading as it is; several with the latest of each value at the top, and all under `readings`."""
        rows = [self._row(reading) for reading in readings]
        if len(rows) == 1:
            shown = rows[0]
        else:
            values: dict[str, Any] = {}
            for row in sorted(rows, key=lambda row: row["at"]):
                values |= row["values"]
            shown = {"device": rows[0]["device"], "at": max(row["at"] for row in rows), "values": values}
            shown["readings"] = rows
        ignored = [name for reading in readings for name in reading.ignored]
        return shown | ({"ignored": ignored} if ignored else {})

    def _row(self, reading: DecodedReading) -> dict[str, Any]:
        return {
            "device": reading.device,
            "at": epoch_seconds(self._arrived_ms if reading.at_ms is None else reading.at_ms),
            "values": {
                name: {"value": value, "unit": self._unit(reading.device, name, reading.units)}
                for name, value in reading.values.items()
            },
        }

    def _unit(self, device: str, name: str, units: Mapping[str, str]) -> str | None:
        slot = None if self._catalogue is None else self._catalogue.slots.get(f"{device}/{name}")
        return units.get(name) or (None if slot is None else slot.unit or None)


def _arrival_ms(at: str | None) -> int:
    if at is None:
        return time.time_ns() // 1_000_000
    try:
        return parse_time_ms(float(at))
    except ValueError:
        return parse_time_ms(at, "--at")


def _read_all(file: Path | None) -> bytes:
    if file is None or str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}: expected a readable file with a payload") from error


def _lines(file: Path | None) -> Iterator[bytes]:
    if file is None or str(file) == "-":
        yield from iter(sys.stdin.buffer.readline, b"")
        return
    yield from _read_all(file).splitlines(keepends=True)
