"""One write request to InfluxDB, through its own client, and the classification of the response.

What follows from a response is decided in retrying_writer.py. The token is never part of a message.

Responses of InfluxDB 2.7, as tried: an unparsable line rejects the whole request (400); a field of another type, or a point
older than the bucket's retention, is dropped and the other points are written (422); 401 is a wrong token, 403 one without
write permission, 404 a missing bucket or organisation. An empty request gets the same responses, so a probe costs nothing.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService
from urllib3.exceptions import HTTPError

from star.errors import Unavailable
from stream.sinks.options import InfluxOptions

GZIP_LEVEL = 1
"""Level 1 compresses lines to a sixth; level 9, the client's own, takes twelve times as long for a seventh (measured)."""
MESSAGE_CHARS_MAX = 300
"""Characters of the server's message that are passed on."""
RETRY_AFTER_S_MAX = 600.0
"""Longest pause that a server's Retry-After header can ask for."""

_TOO_OLD = re.compile(
    r"dropped (\d+) points? (?:outside|beyond) retention policy|beyond retention policy dropped=(\d+)"
)
_PERMANENT = ("unable to parse", "partial write", "line protocol", "field type conflict")


class WriteStatus(Enum):
    """What a response means for the lines that were sent."""

    WRITTEN = "written"
    TOO_OLD = "too old"  # written, except for points older than the bucket's retention
    REJECTED = "refused"  # at least one line is invalid
    TOO_LARGE = "too large"
    UNAVAILABLE = "away"  # retryable
    MISCONFIGURED = "set up"  # retryable once a person has changed the configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteResponse:
    """A classified response. message: what is wrong and what to do. dropped_points: too old. retry_after_s: as requested."""

    status: WriteStatus
    message: str = ""
    dropped_points: int = 0
    retry_after_s: float | None = None


class InfluxWriter:
    """Writes to one bucket. Not safe for several threads at once."""

    def __init__(self, options: InfluxOptions) -> None:
        self._options = options
        self._client: InfluxDBClient | None = None

    def write(self, lines: bytes) -> WriteResponse:
        """Sends lines, or b"" as a probe; blocks for at most `timeout_s`."""
        options = self._options
        try:
            if self._client is None:
                self._client = InfluxDBClient(
                    options.url,
                    options.read_token(),
                    org=options.org,
                    timeout=(round(options.connect_s * 1000), round(options.timeout_s * 1000)),
                )
            compressed = options.compress and bool(lines)
            WriteService(self._client.api_client).post_write(  # type: ignore[no-untyped-call]
                options.org,
                options.bucket,
                gzip.compress(lines, GZIP_LEVEL) if compressed else lines,
                precision="ms",
                **({"content_encoding": "gzip"} if compressed else {}),
            )
        except ApiException as error:
            response = parse_response(error.status or 0, error.body, error.headers or {}, options)
        except Unavailable as error:
            response = WriteResponse(status=WriteStatus.MISCONFIGURED, message=str(error))
        except (HTTPError, OSError, ValueError) as error:
            # ValueError: a URL or a token that cannot be part of a request.
            why = _without_token(str(error), self._client)[:MESSAGE_CHARS_MAX]
            message = f"InfluxDB at {options.url} (STARLOOP_INFLUX_URL) can't be reached: {why}"
            response = WriteResponse(status=WriteStatus.UNAVAILABLE, message=message)
        else:
            return WriteResponse(status=WriteStatus.WRITTEN)
        if response.status in (WriteStatus.UNAVAILABLE, WriteStatus.MISCONFIGURED):
            self.close()
        return response

    def close(self) -> None:
        """Closes the connection; the next write makes a new one and reads the token again."""
        if self._client is not None:
            self._client.close()  # type: ignore[no-untyped-call]
            self._client = None


def parse_response(
    status: int, body: bytes | str | None, headers: Mapping[str, str], options: InfluxOptions
) -> WriteResponse:
    """Classifies a response that is not a success."""
    message, is_influx = _error_message(body)
    if status == 413:
        return WriteResponse(
            status=WriteStatus.TOO_LARGE, message=f"the request is too large for the server: {message}"
        )
    if status in (400, 422) and is_influx:
        too_old = _TOO_OLD.search(message)
        if too_old and "type conflict" not in message:
            dropped = int(too_old[1] or too_old[2])
            return WriteResponse(status=WriteStatus.TOO_OLD, message=message, dropped_points=dropped)
        if any(words in message for words in _PERMANENT):
            return WriteResponse(status=WriteStatus.REJECTED, message=message)
    remedy = _remedy(status, message, is_influx, options)
    if remedy:
        return WriteResponse(status=WriteStatus.MISCONFIGURED, message=f"{remedy} (it answered {status}: {message})")
    after_s = _retry_after_s(headers)
    return WriteResponse(
        status=WriteStatus.UNAVAILABLE,
        message=f"InfluxDB at {options.url} answered {status}: {message}",
        retry_after_s=after_s,
    )


def _remedy(status: int, message: str, is_influx: bool, options: InfluxOptions) -> str | None:
    """What a person must change; None where retrying is enough."""
    where = f"bucket {options.bucket!r} of organisation {options.org!r}"
    if status == 401:
        return (
            f"InfluxDB at {options.url} does not know the token: set STARLOOP_INFLUX_TOKEN_FILE to a file with one "
            f"that may write to {where}"
        )
    if status == 403:
        return (
            f"the token may not write to {where}: give it that right, or set STARLOOP_INFLUX_TOKEN_FILE to one that may"
        )
    if status == 404 and is_influx and "organization" in message:
        return f"InfluxDB has no organisation {options.org!r}: set STARLOOP_INFLUX_ORG to one that it has"
    if status == 404 and is_influx:
        return f"InfluxDB has no {where}: make it, or set STARLOOP_INFLUX_BUCKET to one that it has"
    if 300 <= status < 500 and status not in (408, 425, 429) and is_influx:
        return f"InfluxDB at {options.url} does not take the request"
    if 300 <= status < 500 and status not in (408, 425, 429):
        return (
            f"{options.url} does not answer as InfluxDB 2 or 3 does: expected STARLOOP_INFLUX_URL to be its address, "
            "without a path"
        )
    return None


def _error_message(body: bytes | str | None) -> tuple[str, bool]:
    """The server's message, and whether it comes from InfluxDB and not from a proxy before it."""
    raw = body.decode("utf-8", "replace") if isinstance(body, bytes) else body or ""
    try:
        found = json.loads(raw)
    except ValueError:
        return raw[:MESSAGE_CHARS_MAX], False
    if not isinstance(found, dict) or not ("code" in found or "error" in found):
        return raw[:MESSAGE_CHARS_MAX], False
    return str(found.get("message") or found.get("error") or found["code"])[:MESSAGE_CHARS_MAX], True


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The pause in seconds that the server asked for; None where it did not, or gave a date."""
    found = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return min(float(found), RETRY_AFTER_S_MAX) if found.isdigit() else None


def _without_token(message: str, client: InfluxDBClient | None) -> str:
    token = getattr(client, "token", None)
    return message.replace(token, "…") if token else message
