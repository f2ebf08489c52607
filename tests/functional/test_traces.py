"""Traces of a real issuance, as a collector gets them by OTLP, and what a collector that never answers costs."""

import re
import signal
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from functional.cli import KUBECONFIG, api_server
from functional.operator_core import KEY, Core
from functional.otlp import Collector, collecting, values
from functional.pebble import running_pebble
from mailservers.certificates import HOST, Authority
from mailservers.scripted import Script, serving
from mailtls.controller.traces import Traces, start_traces
from mailtls.kube.client import KubernetesCluster
from mailtls.kube.execution import PROTOCOL, STATUS, STDOUT
from mailtls.kube.interface import ApiError
from mailtls.kube.login import configure
from mailtls.net import tracing
from mailtls.probe.prober import Prober
from mailtls.probe.target import Depth, Port, Target, TlsMode, TlsPolicy
from mailtls.settings import Settings

AUTHORITY = Authority()
FAILED = b'{"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}}'
OF_WEBSOCKETS = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


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
    children = collector.within()
    assert children[""] == {"reconcile"}
    assert {"observe", "OpenOrder", "AdvanceOrder", "StoreCertificate", "report"} <= children["reconcile"]
    assert {"acme new-order", "acme new-nonce", "acme directory"} <= children["OpenOrder"]
    ended = [values(each) for each in collector.spans if each.name == "reconcile"]
    about = {"k8s.namespace.name": KEY.namespace, "mailtls.resource": KEY.name}
    assert all(about.items() <= each.items() for each in ended)
    assert {"mailtls.ready": "True", "mailtls.reason": "Ready"}.items() <= ended[-1].items()
    assert {each["mailtls.generation"] for each in ended} == {1}
    assert {each["mailtls.trigger"] for each in ended} <= {"Event", "Timer"}
    orders = [values(each) for each in collector.spans if each.name == "acme new-order"]
    assert [each["http.response.status_code"] for each in orders] == [201]
    everything = collector.everything
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
        with pytest.raises(ApiError):  # within nothing, as the renewal of the lease is
            cluster.apply("/apis/coordination.k8s.io/v1/namespaces/mail/leases/mailtls", body)
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
    for secret in (b"q2Hy1bT7s0dZk3v9QeXr", b64encode(b"very secret"), b"Bearer"):
        assert secret not in collector.everything


@contextmanager
def container(folder: Path, *messages: tuple[int, bytes]) -> Iterator[KubernetesCluster]:
    """Run an API server that sends these messages of any command, each by its stream, and then its end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            key = sha1(self.headers["Sec-WebSocket-Key"].encode() + OF_WEBSOCKETS, usedforsecurity=False).digest()
            self.send_response(101)
            for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade")):
                self.send_header(name, value)
            self.send_header("Sec-WebSocket-Accept", b64encode(key).decode())
            self.send_header("Sec-WebSocket-Protocol", PROTOCOL)
            self.end_headers()
            for stream, said in messages:
                self.wfile.write(bytes((0x82, 1 + len(said), stream)) + said)  # one binary message, section 5.2
            self.wfile.write(b"\x88\x00")
            self.close_connection = True

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file = folder / "kubeconfig"
        file.write_text(KUBECONFIG.format(port=server.server_port))
        yield KubernetesCluster(lambda: configure(None, str(file)))
        server.shutdown()


def test_commands_and_probes_are_in_it_and_what_they_said_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A command has its place and exit code; a probe how many ports, how deep, and the reasons that were found."""
    plain = Script(greeting=b"220 mx1 q2Hy1bT7 ESMTP\r\n", ehlo=b"250-mx1 hello\r\n250 SIZE 1\r\n")
    said = ((STDOUT, b"password q2Hy1bT7"), (STATUS, FAILED))
    with collecting() as collector, container(tmp_path, *said) as cluster, serving(plain, tmp_path) as number:
        traces = started(collector, monkeypatch)
        port = Port(number, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
        with tracing.span("Roll"):
            ended = cluster.execute("mail", "postfix-0", "postfix", ["reload", "--password=q2Hy1bT7"], 30)
            target = Target("127.0.0.1", port, HOST, pod="postfix-0")
            (endpoint,) = Prober().probe([target], AUTHORITY.expects(AUTHORITY.issue()), Depth.QUICK)
        assert traces.stop(30)
    assert (ended.exit_code, ended.stdout) == (3, "password q2Hy1bT7")
    command, probe, step = collector.spans
    assert [(each.name, each.parent_span_id) for each in (command, probe)] == [
        ("exec", step.span_id),
        ("probe", step.span_id),
    ]
    assert values(command) == {
        "k8s.namespace.name": "mail",
        "k8s.pod.name": "postfix-0",
        "k8s.container.name": "postfix",
        "mailtls.exit_code": 3,
    }
    assert {name: value for name, value in values(probe).items() if name != "mailtls.reasons"} == {
        "mailtls.endpoints": 1,
        "mailtls.depth": "Quick",
    }
    assert all(str(each.reason) in values(probe)["mailtls.reasons"] for each in endpoint.findings)
    assert endpoint.failure is not None
    assert b"q2Hy1bT7" not in collector.everything


def test_thread_that_sends_leaves_signals_to_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM that the kernel gave to it would end the process at once, with the lease kept."""
    tasks = Path("/proc/self/task")
    before, mine = set(tasks.iterdir()), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with collecting() as collector:
        others = set(tasks.iterdir()) - before
        traces = started(collector, monkeypatch)
        (sending,) = set(tasks.iterdir()) - before - others
        blocked = int(re.findall(r"^SigBlk:\s+(\w+)", (sending / "status").read_text(), re.MULTILINE)[0], 16)
        assert traces.stop(30)
    assert blocked >> (signal.SIGTERM - 1) & 1
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mine


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
