"""Traces of a real issuance, as a collector gets them by OTLP, and what a collector that never answers costs."""

import gzip
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from functional.cli import api_server
from functional.operator_core import KEY, Core
from functional.pebble import running_pebble
from mailtls.api.reading.document import Json
from mailtls.controller.traces import Traces, start_traces
from mailtls.kube.client import KubernetesCluster
from mailtls.kube.connection import configure
from mailtls.kube.interface import ApiError
from mailtls.net import tracing
from mailtls.settings import Settings

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

    def resource(self) -> Json:
        """Who sent the first ones."""
        return values(self.requests[0].resource_spans[0].resource)


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

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.asked.set()
            if found.hangs:
                found.ended.wait(60)
                return
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            found.requests.append(ExportTraceServiceRequest.FromString(body))
            found.headers.append(f"{self.path} {self.headers.get('Content-Type')}")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found.port = server.server_port
        try:
            yield found
        finally:
            found.ended.set()
            server.shutdown()


def started(collector: Collector, monkeypatch: pytest.MonkeyPatch, **more: str) -> Traces:
    """Switch traces on, as the variables do; another test finds them off."""
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}", **more}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings.from_environment({**environment, "MAILTLS_NAMESPACE": "system", "POD_NAME": "mailtls-0"})
    traces = start_traces(settings)
    assert traces is not None
    return traces


def test_reconcile_is_a_tree_of_its_stages_and_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real order at a real CA: each step within its reconcile, each request within its step, and no secret in any."""
    with collecting() as collector, running_pebble() as pebble:
        core = Core(pebble)
        core.apply()
        traces = started(collector, monkeypatch, OTEL_SERVICE_NAME="mail-certificates")
        try:
            core.run_until_ready()
        finally:
            assert traces.stop(30)
        secrets = [core.secret(name) or {} for name in ("mx-tls", "mx-tls-next")]
    assert set(collector.headers) == {"/v1/traces application/x-protobuf"}
    assert {
        "service.name": "mail-certificates",
        "k8s.namespace.name": "system",
        "k8s.pod.name": "mailtls-0",
    }.items() <= collector.resource().items()
    spans = {each.span_id: each for each in collector.spans}
    children: dict[str, set[str]] = {}
    for each in spans.values():
        parent = spans.get(each.parent_span_id)
        children.setdefault(parent.name if parent else "", set()).add(each.name)
    assert children[""] == {"reconcile"}
    assert {"observe", "OpenOrder", "AdvanceOrder", "StoreCertificate", "report"} <= children["reconcile"]
    assert {"acme new-order", "acme new-nonce", "acme directory"} <= children["OpenOrder"]
    ended = [values(each) for each in spans.values() if each.name == "reconcile"]
    about = {"k8s.namespace.name": KEY.namespace, "mailtls.resource": KEY.name}
    assert all(about.items() <= each.items() for each in ended)
    assert {"mailtls.ready": "True", "mailtls.reason": "Ready"}.items() <= ended[-1].items()
    assert {each["mailtls.generation"] for each in ended} == {1}
    assert {each["mailtls.trigger"] for each in ended} <= {"Event", "Timer"}
    orders = [values(each) for each in spans.values() if each.name == "acme new-order"]
    assert [each["http.response.status_code"] for each in orders] == [201]
    everything = b"".join(each.SerializeToString() for each in collector.requests)
    hidden = [value for secret in secrets for name, value in secret.items() if name.endswith(".key")]
    assert hidden
    for key in hidden:
        body = b"".join(line for line in key.split(b"\n") if b"-" not in line)
        assert not [at for at in range(0, len(body) - 16, 8) if body[at : at + 16] in everything]
    assert b"PRIVATE" not in everything


def test_writes_and_failures_are_in_it_and_texts_of_strangers_are_quoted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A write that the API server refuses has its type; what it said, bodies and tokens are nowhere."""
    said = "the quota is used up, says somebody with token q2Hy1bT7s0dZk3v9QeXr"
    with collecting() as collector, api_server(tmp_path, lambda _path: (403, {"message": said})) as api:
        traces = started(collector, monkeypatch)
        cluster = KubernetesCluster(lambda: configure(None, str(api.kubeconfig)))
        body = {"metadata": {"name": "mx-tls"}, "data": {"tls.key": b64encode(b"very secret").decode()}}
        with pytest.raises(ApiError), tracing.span("StoreCertificate", who="\x1b[31m" + "x" * 5000):
            cluster.apply("/api/v1/namespaces/mail/secrets/mx-tls", body)
        with tracing.span("leak", text="-----BEGIN PRIVATE KEY-----"):
            tracing.note(many=["x"] * 1000, nothing=None)
        assert traces.stop(30)
    write, step, leak = collector.spans
    assert (write.name, write.parent_span_id) == ("kubernetes apply", step.span_id)
    assert write.status.code == step.status.code == Status.STATUS_CODE_ERROR
    assert values(write) == {"mailtls.path": "/api/v1/namespaces/mail/secrets/mx-tls", "error.type": "ApiError"}
    assert len(values(step)["mailtls.who"]) <= tracing.LONGEST
    assert values(step)["mailtls.who"].startswith("\\x1b[31mxxx")
    assert values(leak)["mailtls.text"] == "(withheld)"
    everything = b"".join(each.SerializeToString() for each in collector.requests)
    for secret in (b"q2Hy1bT7s0dZk3v9QeXr", b64encode(b"very secret"), b"Bearer"):
        assert secret not in everything


def test_collector_that_never_answers_delays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a batch hangs, spans are dropped beyond the queue; the end does not wait for it."""
    with collecting(hangs=True) as collector:
        more = {"OTEL_BSP_SCHEDULE_DELAY": "10", "OTEL_BSP_MAX_QUEUE_SIZE": "64", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8"}
        traces = started(collector, monkeypatch, **more)
        with tracing.span("first"):
            pass
        assert collector.asked.wait(30)
        for number in range(5000):
            with tracing.span("reconcile", number=number):
                tracing.note(reason="Ready")
        begun = time.monotonic()
        assert not traces.stop(0.5)
        assert time.monotonic() - begun < 10
        with tracing.span("later"):
            tracing.note(reason="Ready")
