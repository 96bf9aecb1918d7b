"""Responses that the real InfluxDB of a test does not give: those of an overloaded server, of a proxy, of a limit.

The server here is an HTTP server that gives scripted responses and keeps the bodies that it accepted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from star.errors import Unavailable
from stream.sinks.influx_writer import InfluxWriter, WriteResponse, WriteStatus, parse_response
from stream.sinks.options import InfluxOptions
from stream.sinks.retrying_writer import BatchResult, RetryingWriter

Reply = tuple[int, dict[str, str], bytes]
OPTIONS = InfluxOptions(
    url="http://127.0.0.1:1", token="s3cret", backoff_s=0.01, backoff_max_s=0.05, setup_retry_s=0.01, connect_s=1.0
)
ACCEPTED: Reply = (204, {}, b"")
TOO_LARGE: Reply = (413, {}, b'{"code":"request too large","message":"limit"}')


class ScriptedServer:
    """A server: gives `replies` first, then what `respond` returns for a body. bodies: those it accepted, in order."""

    def __init__(self, replies: Sequence[Reply], respond: Callable[[bytes], Reply]) -> None:
        self.replies, self.respond = list(replies), respond
        self.bodies: list[bytes] = []
        self.requests = 0


@contextmanager
def scripted_server(
    *replies: Reply, respond: Callable[[bytes], Reply] = lambda _: ACCEPTED
) -> Iterator[tuple[ScriptedServer, InfluxOptions]]:
    """Runs such a server."""
    scripted = ScriptedServer(replies, respond)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            scripted.requests += 1
            status, headers, content = scripted.replies.pop(0) if scripted.replies else scripted.respond(body)
            if status == ACCEPTED[0]:
                scripted.bodies.append(body)
            self.send_response(status)
            for name, value in {"content-length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield scripted, InfluxOptions(**{
            **{name: getattr(OPTIONS, name) for name in OPTIONS.__slots__}, "url": f"http://127.0.0.1:{server.server_port}",
        })  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def write_lines(options: InfluxOptions, lines: bytes) -> tuple[BatchResult, list[WriteResponse]]:
    """Writes the lines; gives the result and every response."""
    answers: list[WriteResponse] = []
    writer = InfluxWriter(options)
    result = await RetryingWriter(options, writer, on_response=answers.append, jitter=lambda: 0.0).write(lines)
    writer.close()
    return result, answers


async def test_an_overloaded_server_gets_the_same_lines_again_after_its_pause() -> None:
    """After 429 and 503 the sink pauses for as long as Retry-After asks."""
    with scripted_server((429, {"Retry-After": "0"}, b""), (503, {}, b'{"code":"unavailable"}')) as (scripted, options):
        result, answers = await write_lines(options, b"m v=1 1\nm v=2 2")
    assert scripted.bodies == [b"m v=1 1\nm v=2 2"]
    assert result.written == 2
    assert [one.status for one in answers] == [WriteStatus.UNAVAILABLE, WriteStatus.UNAVAILABLE, WriteStatus.WRITTEN]
    assert answers[0].retry_after_s == 0.0


async def test_a_request_that_is_too_large_is_bisected_until_it_fits_and_stays_in_order() -> None:
    """A proxy's limit may be lower than the sink's."""
    lines = [b"m v=%d %d" % (number, number) for number in range(100)]
    with scripted_server(respond=lambda body: TOO_LARGE if len(body) > 100 else ACCEPTED) as (scripted, options):
        result, _ = await write_lines(options, b"\n".join(lines))
    assert result.written == 100
    assert result.rejected == []
    assert b"\n".join(scripted.bodies).split(b"\n") == lines


async def test_one_line_that_is_too_large_is_rejected() -> None:
    """It cannot be bisected."""
    long = b"m v=" + b"1" * 200 + b" 1"
    with scripted_server(respond=lambda body: TOO_LARGE if len(body) > 100 else ACCEPTED) as (scripted, options):
        result, _ = await write_lines(options, b"m v=1 1\n" + long + b"\nm v=3 3")
    assert [one.lines for one in result.rejected] == [long]
    assert scripted.bodies == [b"m v=1 1", b"m v=3 3"]


async def test_a_proxy_s_response_does_not_reject_a_line() -> None:
    """After a 400 that is not InfluxDB's own nothing is dropped: the request is retried."""
    with scripted_server((400, {}, b"<html>Bad Request</html>"), (404, {}, b"no such page")) as (_, options):
        result, answers = await write_lines(options, b"m v=1 1")
    assert result.written == 1
    assert [one.status for one in answers] == [
        WriteStatus.MISCONFIGURED,
        WriteStatus.MISCONFIGURED,
        WriteStatus.WRITTEN,
    ]
    assert "STARLOOP_INFLUX_URL" in answers[0].message


async def test_rejected_lines_beyond_the_limit_take_their_neighbours_along_and_no_line_is_lost() -> None:
    """The limit bounds the number of requests."""
    lines = [b"m v=%d %d" % (number, number) for number in range(512)]
    refusal: Reply = (400, {}, b'{"code":"invalid","message":"unable to parse"}')
    with scripted_server(respond=lambda body: refusal if b"v=" in body else ACCEPTED) as (scripted, options):
        result, _ = await write_lines(options, b"\n".join(lines))
    assert b"\n".join(one.lines for one in result.rejected).split(b"\n") == lines
    assert scripted.requests < 60


@pytest.mark.parametrize(
    ("status", "body", "verdict", "words"),
    [
        (
            401,
            b'{"code":"unauthorized","message":"unauthorized access"}',
            WriteStatus.MISCONFIGURED,
            "STARLOOP_INFLUX_TOKEN_FILE",
        ),
        (403, b'{"code":"forbidden","message":"insufficient permissions"}', WriteStatus.MISCONFIGURED, "may not write"),
        (
            404,
            b'{"code":"not found","message":"bucket \\"b\\" not found"}',
            WriteStatus.MISCONFIGURED,
            "STARLOOP_INFLUX_BUCKET",
        ),
        (404, b'{"code":"not found","message":"organization name"}', WriteStatus.MISCONFIGURED, "STARLOOP_INFLUX_ORG"),
        (404, b"404 page not found", WriteStatus.MISCONFIGURED, "STARLOOP_INFLUX_URL"),
        (301, b"", WriteStatus.MISCONFIGURED, "STARLOOP_INFLUX_URL"),
        (400, b'{"code":"invalid","message":"unable to parse \'m\'"}', WriteStatus.REJECTED, "unable to parse"),
        (400, b'{"error":"partial write of line protocol occurred","data":[]}', WriteStatus.REJECTED, "partial write"),
        (400, b'{"code":"invalid","message":"failed to read gzip body"}', WriteStatus.MISCONFIGURED, "does not take"),
        (
            422,
            b'{"code":"x","message":"partial write: dropped 2 points outside retention policy"}',
            WriteStatus.TOO_OLD,
            "",
        ),
        (
            422,
            b'{"code":"x","message":"partial write: field type conflict: dropped=1"}',
            WriteStatus.REJECTED,
            "conflict",
        ),
        (413, b"", WriteStatus.TOO_LARGE, "too large"),
        (500, b'{"code":"internal error","message":"disk"}', WriteStatus.UNAVAILABLE, "disk"),
        (502, b"Bad Gateway", WriteStatus.UNAVAILABLE, "502"),
    ],
)
def test_a_response_s_message_names_the_fault_and_what_to_do(
    status: int, body: bytes, verdict: WriteStatus, words: str
) -> None:
    """Each status, with the body of InfluxDB 2.7, of InfluxDB 3, or of a proxy."""
    answer = parse_response(status, body, {}, OPTIONS)
    assert answer.status is verdict
    assert words in answer.message


def test_a_server_s_pause_has_an_upper_limit() -> None:
    """A date, or text, is no number of seconds."""
    assert parse_response(503, b"", {"Retry-After": "7"}, OPTIONS).retry_after_s == 7.0
    assert parse_response(503, b"", {"retry-after": "99999999"}, OPTIONS).retry_after_s == 600.0
    assert parse_response(503, b"", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, OPTIONS).retry_after_s is None


@pytest.mark.filterwarnings("ignore:URLs without a scheme:FutureWarning")
@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://[::1", "https://127.0.0.1:1/influx"])
def test_an_unreachable_url_is_reported_with_its_setting_and_without_the_token(url: str) -> None:
    """For every kind of invalid or unreachable URL."""
    writer = InfluxWriter(InfluxOptions(url=url, token="s3cret", connect_s=0.5))
    answer = writer.write(b"m v=1 1")
    assert answer.status is WriteStatus.UNAVAILABLE
    assert "STARLOOP_INFLUX_URL" in answer.message
    assert "s3cret" not in answer.message
    assert "s3cret" not in repr(OPTIONS)


def test_a_missing_token_is_reported_with_its_setting() -> None:
    """Whether none is configured or only blanks."""
    answer = InfluxWriter(InfluxOptions(url="http://127.0.0.1:1")).write(b"m v=1 1")
    assert (answer.status, "STARLOOP_INFLUX_TOKEN_FILE" in answer.message) == (WriteStatus.MISCONFIGURED, True)
    with pytest.raises(Unavailable, match="STARLOOP_INFLUX_TOKEN_FILE"):
        InfluxOptions(url="http://127.0.0.1:1", token="  ").read_token()
