"""Trace exporter: OTLP over HTTP, in batches from a background thread, with a bounded queue that drops when full.

The OpenTelemetry SDK is an extra (`starloop[traces]`) and is imported only if traces are enabled. Authentication and other options
are set with its own variables (OTEL_EXPORTER_OTLP_HEADERS and others).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from operations.observability.tracing import Span, Tracer
from star.errors import InputError

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

TRACES_PATH = "/v1/traces"
QUEUE_SPANS_MAX = 4_096
BATCH_SPANS_MAX = 512
BATCH_DELAY_MS = 1_000
EXPORT_TIMEOUT_S = 3.0
"""Limits of the exporter: memory and shutdown time against spans lost while the collector is unavailable."""


class OtlpTracer(Tracer):
    """A Tracer that exports to a collector, one per process. `close` flushes for some seconds: call it in a thread."""

    def __init__(self, url: str, role: str, instance: str, version: str) -> None:
        emit, self.close = _build_exporter(url, role, instance, version)
        super().__init__(emit)


def build_tracer(url: str | None, role: str, instance: str, version: str) -> OtlpTracer | None:
    """The tracer for STARLOOP_OTLP_URL; None if not set. Raises InputError if the SDK is not installed."""
    if url is None:
        return None
    try:
        return OtlpTracer(url, role, instance, version)
    except ModuleNotFoundError as error:
        raise InputError(
            f"STARLOOP_OTLP_URL is set, but {error.name} is not installed: pip install 'starloop[traces]', or unset it"
        ) from error


def traces_endpoint(url: str) -> str:
    """URL for spans, from the base address of a collector or the full URL. Raises InputError."""
    try:
        parts = urlsplit(url)
    except ValueError:  # unbalanced brackets
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"STARLOOP_OTLP_URL is {url!r}: expected http://host:4318")
    path = parts.path.rstrip("/")
    return parts._replace(path=path if path.endswith(TRACES_PATH) else path + TRACES_PATH).geturl()


def _build_exporter(
    url: str, role: str, instance: str, version: str
) -> tuple[Callable[[Span], None], Callable[[], None]]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    described = {"service.name": "starloop", "service.version": version, "service.instance.id": instance}
    resource = Resource({**described, "starloop.role": role})
    batches = BatchSpanProcessor(
        OTLPSpanExporter(traces_endpoint(url), timeout=EXPORT_TIMEOUT_S),
        max_queue_size=QUEUE_SPANS_MAX,
        max_export_batch_size=BATCH_SPANS_MAX,
        schedule_delay_millis=BATCH_DELAY_MS,
    )
    return lambda span: batches.on_end(_to_readable_span(span, resource)), batches.shutdown


def _to_readable_span(span: Span, resource: Resource) -> ReadableSpan:
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

    flags = TraceFlags(TraceFlags.SAMPLED)
    own = SpanContext(span.trace_id, span.span_id, is_remote=False, trace_flags=flags)
    parent = None
    if span.parent_id is not None:
        parent = SpanContext(span.trace_id, span.parent_id, is_remote=True, trace_flags=flags)
    failed = [] if span.error is None else [Event("failed", {"error.message": span.error}, timestamp=span.end_ns)]
    return ReadableSpan(
        span.name,
        own,
        parent,
        resource,
        attributes=dict(span.attributes),
        events=failed,
        status=Status(StatusCode.UNSET) if span.error is None else Status(StatusCode.ERROR, span.error),
        start_time=span.start_ns,
        end_time=span.end_ns,
    )
