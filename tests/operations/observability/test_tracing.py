"""Traces at a real OTLP/HTTP collector: spans of several roles form one tree per need."""

from __future__ import annotations

import asyncio
import builtins
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from operations.observability.otlp_exporter import OtlpTracer, build_tracer, traces_endpoint
from operations.observability.tracing import Span, StepTimings, Tracer, trace_id_of
from reactor.unit_of_work import StepResult
from star.analyse import DAYS_MAX, QUANTILES, Forecast
from star.errors import InputError
from star.react import Decision
from star.repeat import Outcome
from tests.support.delivery_fleet import START_MS, reaction_of


class Collector:
    """OTLP/HTTP collector that keeps the spans."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Sent] = []
        self.roles: set[str] = set()

    def receive(self, body: bytes) -> None:
        """Adds the spans of a request."""
        request = ExportTraceServiceRequest.FromString(body)
        for of_resource in request.resource_spans:
            self.roles |= {
                one.value.string_value for one in of_resource.resource.attributes if one.key == "starloop.role"
            }
            for scope in of_resource.scope_spans:
                self.spans += scope.spans


@contextmanager
def running_collector() -> Iterator[Collector]:
    """A collector that listens while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf":
                collector.receive(body)
                self.send_response(200)
            else:
                self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Writes no request log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield collector
    server.shutdown()
    server.server_close()


def forecast_at(reading_ms: int) -> Forecast:
    """A forecast based on a reading of this time."""
    return Forecast(
        item="tank-7/oil",
        at_ms=START_MS,
        level=100.0,
        days=(DAYS_MAX,) * len(QUANTILES),
        rate_per_day=1.0,
        trust=1.0,
        model="run-out@1:abc",
        readings=10,
        reading_ms=reading_ms,
        reading=100.0,
    )


def timings_at(at_ms: int) -> StepTimings:
    """Timings with 20 ms of analysis and 30 ms until the decision is committed."""
    times = {"tick_ms": at_ms, "facts_ms": at_ms + 20, "read_ms": at_ms + 25, "committed_ms": at_ms + 55}
    return StepTimings(partition=3, offset=41, **times)


def trace_need(reactor: Tracer, sender: Tracer) -> None:
    """Traces a need: a wait, an order, a failed webhook, a successful one, and the delivery."""
    order = reaction_of()
    wait = Decision(id=f"{order.need}/decision/1", need=order.need, at_ms=START_MS, verdict="wait", because="")
    act = Decision(
        id=f"{order.need}/decision/2",
        need=order.need,
        at_ms=START_MS + 5_000,
        verdict=str(order.type),
        because="",
        forecast=forecast_at(START_MS + 4_900),
        reaction=order.id,
    )
    outcome = Outcome(
        at_ms=START_MS + 9_000, arrived_ms=START_MS + 9_500, id="o-1", result="delivered", reaction=order.id
    )
    reactor.trace_step(StepResult(offset=40, at_ms=START_MS, decisions=(wait,)), timings_at(START_MS))
    step = StepResult(offset=41, at_ms=START_MS + 5_000, decisions=(act,), reactions=(order,))
    reactor.trace_step(step, timings_at(START_MS + 5_000))
    now_ns = (START_MS + 6_000) * 1_000_000
    sender.trace_delivery(
        order, "supplier:acme", tries=0, start_ns=now_ns, end_ns=now_ns + 10, error="503 of acme.example"
    )
    sender.trace_delivery(order, "supplier:acme", tries=1, start_ns=now_ns + 20, end_ns=now_ns + 30, error=None)
    sender.trace_delivery(order, "mqtt", tries=0, start_ns=now_ns, end_ns=now_ns + 5, error=None)
    reactor.trace_step(
        StepResult(offset=42, at_ms=START_MS + 9_600, outcomes=((order.id, outcome),)), timings_at(START_MS + 9_600)
    )


def test_spans_of_one_need_from_two_processes_form_one_tree() -> None:
    """One trace with one root, no missing parent, no duplicate, and stages in time order."""
    with running_collector() as collector:
        tracers = [OtlpTracer(collector.url, role, f"{role}-1", "1") for role in ("react", "send")]
        trace_need(*tracers)
        for tracer in tracers:
            tracer.close()
    spans = {span.span_id: span for span in collector.spans}
    assert len(spans) == len(collector.spans) == 10
    assert {span.trace_id for span in collector.spans} == {trace_id_of("tank-7/oil/3").to_bytes(16, "big")}
    (root,) = [span for span in collector.spans if not span.parent_span_id]
    assert root.name == "receive"
    for span in collector.spans:
        if span is not root:
            parent = spans[span.parent_span_id]
            assert parent.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
    assert collector.roles == {"react", "send"}
    parents = {span.name: spans[span.parent_span_id].name for span in collector.spans if span is not root}
    assert parents == {
        "receive": "receive",
        "analyse": "receive",
        "decide": "analyse",
        "send": "decide",
        "outcome": "decide",
    }


def test_spans_have_the_times_of_their_stages_and_errors() -> None:
    """`receive` starts at the reading, `analyse` ends with the facts on disk, and a failed attempt has its error."""
    with running_collector() as collector:
        tracer = OtlpTracer(collector.url, "up", "one", "1")
        trace_need(tracer, tracer)
        tracer.close()
    by_name: dict[str, list[Sent]] = {}
    for span in sorted(collector.spans, key=lambda one: one.start_time_unix_nano):
        by_name.setdefault(span.name, []).append(span)
    receive, analyse, decide = by_name["receive"][1], by_name["analyse"][1], by_name["decide"][1]
    assert receive.start_time_unix_nano // 1_000_000 == START_MS + 4_900
    assert (analyse.end_time_unix_nano - analyse.start_time_unix_nano) // 1_000_000 == 20
    assert (decide.end_time_unix_nano - decide.start_time_unix_nano) // 1_000_000 == 30
    assert attributes_of(decide)["starloop.reaction"] == "tank-7/oil/3/order/1"
    assert attributes_of(decide)["starloop.customer"] == reaction_of().customer
    assert attributes_of(decide) | {"starloop.partition": 3, "starloop.offset": 41} == attributes_of(decide)
    assert attributes_of(decide)["starloop.model"] == "run-out@1:abc"
    failed = [span for span in by_name["send"] if span.status.code == Status.STATUS_CODE_ERROR]
    assert [span.status.message for span in failed] == ["503 of acme.example"]
    assert [event.name for span in failed for event in span.events] == ["failed"]


def attributes_of(span: Sent) -> dict[str, Any]:
    """Attributes by name."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def test_a_step_traced_again_after_a_restart_makes_no_second_span() -> None:
    """The span ids are the same, so a collector keeps one."""
    spans: list[Span] = []
    trace_need(Tracer(spans.append), Tracer(spans.append))
    once = {span.span_id for span in spans}
    trace_need(Tracer(spans.append), Tracer(spans.append))
    assert {span.span_id for span in spans} == once


async def test_a_collector_that_is_away_holds_nobody_up() -> None:
    """Emitting spans does not block, and closing takes seconds at most."""
    tracer = OtlpTracer("http://127.0.0.1:9", "up", "one", "1")
    started_s = time.monotonic()
    for _ in range(100):
        trace_need(tracer, tracer)
    assert time.monotonic() - started_s < 5.0
    async with asyncio.timeout(10):
        await asyncio.to_thread(tracer.close)


def test_without_the_setting_there_is_no_tracer_and_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none without the setting; with it but without the extra, the error says what to install."""
    real = builtins.__import__

    def bare(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", bare)
    assert build_tracer(None, "up", "one", "1") is None
    with pytest.raises(InputError, match=r"pip install 'starloop\[traces\]'"):
        build_tracer("http://127.0.0.1:4318", "up", "one", "1")


def test_a_collector_is_named_by_its_base_or_its_whole_address() -> None:
    """Base address and full URL are equivalent; anything else is an error that names the setting."""
    assert (
        traces_endpoint("http://tempo:4318")
        == traces_endpoint("http://tempo:4318/v1/traces")
        == "http://tempo:4318/v1/traces"
    )
    with pytest.raises(InputError, match="STARLOOP_OTLP_URL"):
        traces_endpoint("tempo:4318")
