"""An OpenTelemetry collector that keeps what it is sent by OTLP over HTTP."""

import gzip
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from functional.receiving import receiving
from mailtls.api.reading.document import Json

TEXT = {"string_value", "int_value", "double_value", "bool_value"}


@dataclass
class Collector:
    """What was sent to it; while it hangs, no request is answered."""

    port: int = 0
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    hangs: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    def take(self, path: str, headers: Message, body: bytes) -> bool:
        """Keep what is sent, or hang until the end and answer nothing."""
        self.asked.set()
        if self.hangs:
            self.ended.wait(60)
            return False
        body = gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
        self.requests.append(ExportTraceServiceRequest.FromString(body))
        self.headers.append(f"{path} {headers.get('Content-Type')}")
        return True

    @property
    def spans(self) -> list[Span]:
        """All of them."""
        return [
            each
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for each in scope.spans
        ]

    @property
    def everything(self) -> bytes:
        """All bytes that were sent, in which no secret may be."""
        return b"".join(each.SerializeToString() for each in self.requests)

    def resource(self) -> Json:
        """Who sent the first ones."""
        return values(self.requests[0].resource_spans[0].resource)

    def within(self) -> Mapping[str, set[str]]:
        """The names of the spans within those of each name; what is within none is under the empty name."""
        spans, found = {each.span_id: each for each in self.spans}, dict[str, set[str]]()
        for each in spans.values():
            parent = spans.get(each.parent_span_id)
            found.setdefault(parent.name if parent else "", set()).add(each.name)
        return found


def values(of: object) -> Json:
    """The attributes of a span or of a resource."""
    found = {}
    for each in of.attributes:  # type: ignore[attr-defined]
        kind = each.value.WhichOneof("value")
        found[each.key] = getattr(each.value, kind) if kind in TEXT else str(each.value)
    return found


@contextmanager
def collecting(*, hangs: bool = False) -> Iterator[Collector]:
    """Run an OTLP collector."""
    found = Collector(hangs=hangs)
    with receiving(found.take) as found.port:
        try:
            yield found
        finally:
            found.ended.set()
