"""The operator's process on a real cluster: what wakes it, how it stops, who leads, and what idling costs."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from e2e.operator_process import free_port
from testbed.sandbox import MAIL_SERVER_TLS, PATIENCE, Sandbox

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
IDLE_COST = 0.6  # seconds of processor time in ten; a quiet machine takes a tenth of it
RELEASED = 9.0
"""Seconds within which a Lease is taken that was released, on a slow machine; one that is left runs out after more."""
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Replica:
    """One process, its log and its port."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of an event."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def passes(self, name: str) -> int:
        """Count the passes over a resource."""
        return sum(line["key"].endswith(f"/{name}") for line in self.said("pass"))

    def leads(self) -> bool:
        """Whether it says that it leads and works."""
        return bool(self.said("working"))

    def seconds_between(self, first: str, second: str) -> float:
        """Return the time between two of its log lines."""
        begun, ended = (datetime.fromisoformat(self.said(event)[0]["timestamp"]) for event in (first, second))
        return (ended - begun).total_seconds()

    def get(self, path: str) -> str:
        """Ask its HTTP server."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return str(answer.read().decode())

    def stop(self) -> tuple[float, int]:
        """Send SIGTERM; return how long it took, and the exit code."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        return time.monotonic() - begun, code

    def processor_seconds(self) -> float:
        """Return the CPU time used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK


@pytest.fixture
def launch(crd: None, sandbox: Sandbox, tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    """Start replicas that serve the test's namespace."""
    started: list[Replica] = []

    def start(name: str, **environment: str) -> Replica:
        port = free_port()
        own = {
            "MAILTLS_NAMESPACE": sandbox.name,
            "MAILTLS_WATCH_NAMESPACES": sandbox.name,
            "MAILTLS_METRICS_PORT": str(port),
            "POD_NAME": name,
            "PYTHONPATH": str(ROOT / "operator"),
            "KUBECONFIG": str(sandbox.cluster.layout.kubeconfig),
        }
        log = tmp_path / f"{name}.log"
        with log.open("wb") as sink:
            command = [sys.executable, str(ROOT / "tests/e2e/bare_operator.py")]
            process = subprocess.Popen(command, env=os.environ | own | environment, stderr=sink, stdout=sink)
        started.append(Replica(process, log, port))
        return started[-1]

    yield start
    for replica in started:
        replica.process.kill()
        replica.process.wait()


def eventually(condition: Callable[[], bool], within: float = PATIENCE) -> float:
    """Wait until the condition holds, and tell how long it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + within, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - begun


def mail_server(name: str = "mx") -> dict[str, Any]:
    """Make a resource."""
    acme = {"server": "https://198.18.0.1:14000/dir", "email": "a@example.test", "solvers": [{"http01": {}}]}
    spec = {"dnsNames": [f"{name}.example.test"], "secretName": f"{name}-tls", "acme": acme}
    return {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS", "metadata": {"name": name}, "spec": spec}


def is_noted(resource: dict[str, Any]) -> bool:
    """Whether a pass over a resource was done, to its end."""
    noted = resource.get("status", {}).get("observedGeneration")
    return bool(noted == resource["metadata"]["generation"])


def holder(sandbox: Sandbox) -> str:
    """Who holds the Lease."""
    lease = sandbox.get("leases.coordination.k8s.io", "mailtls")
    return str(lease["spec"]["holderIdentity"])


def test_wishes_wake_and_our_own_status_does_not(sandbox: Sandbox, launch: Callable[..., Replica]) -> None:
    """Creation, annotation, a foreign status and a deleted Secret cause a pass each; our own status causes none.

    On a slow machine the answer to a write may come so long after its event that this is not known for ours: of three
    that are alike at least one causes no second pass.
    """
    replica = launch("one")
    eventually(replica.leads)
    assert replica.get("/healthz") == "ok"
    alike = ("mx", "mx-b", "mx-c")
    sandbox.apply(*map(mail_server, alike))
    eventually(lambda: all(is_noted(each) for each in sandbox.objects(MAIL_SERVER_TLS)))
    time.sleep(1)
    assert min(map(replica.passes, alike)) == 1, "the echo of the status woke it"
    with waking(replica):
        sandbox.annotate(MAIL_SERVER_TLS, "mx", mailtls_dev__probe="now")
    with waking(replica):
        sandbox.patch(MAIL_SERVER_TLS, "mx", {"status": {"observedGeneration": 77}}, subresource="status")
    labels = {"app.kubernetes.io/managed-by": "mailtls", "mailtls.dev/owner": "mx"}
    pair = {"type": "kubernetes.io/tls", "data": {"tls.crt": "", "tls.key": ""}}
    with waking(replica):
        sandbox.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mx-tls", "labels": labels}, **pair})
    with waking(replica):
        sandbox.delete("secrets", "mx-tls")
    with waking(replica):
        sandbox.delete(MAIL_SERVER_TLS, "mx")
    counted = "mailtls_reconcile_duration_seconds_count"  # at the end of each
    eventually(lambda: f"{counted} {len(replica.said('pass'))}.0" in replica.get("/metrics"))


@contextmanager
def waking(replica: Replica) -> Iterator[None]:
    """Wait for a pass over `mx` that is made for what the block does: before it, all is at rest."""
    before = -1
    while (now := replica.passes("mx")) != before:
        before = now
        time.sleep(1)
    yield
    eventually(lambda: replica.passes("mx") > before)


def test_the_framework_leaves_no_traces(sandbox: Sandbox, launch: Callable[..., Replica]) -> None:
    """No annotation, no finalizer and no Event comes from watching."""
    replica = launch("one")
    sandbox.apply(mail_server())
    eventually(lambda: replica.passes("mx") >= 1)
    time.sleep(1)
    metadata = sandbox.get(MAIL_SERVER_TLS, "mx")["metadata"]
    assert "finalizers" not in metadata
    assert "annotations" not in metadata
    assert sandbox.events("mx") == []
    assert {entry["manager"] for entry in metadata["managedFields"]} <= {"mailtls", "a-person"} | _appliers(metadata)


def _appliers(metadata: dict[str, Any]) -> set[str]:
    return {entry["manager"] for entry in metadata["managedFields"] if entry["operation"] == "Apply"}


def test_a_restart_looks_at_everything_once_and_writes_nothing(
    sandbox: Sandbox, launch: Callable[..., Replica]
) -> None:
    """After a restart each resource gets one pass, which finds nothing to write."""
    first = launch("one")
    sandbox.apply(*[mail_server(f"mx{number}") for number in range(20)])
    resources = partial(sandbox.objects, MAIL_SERVER_TLS)
    eventually(lambda: all(is_noted(each) for each in resources()))
    first.stop()
    before = [item["metadata"]["resourceVersion"] for item in resources()]
    second = launch("two")
    eventually(lambda: len(second.said("pass")) >= 20)
    time.sleep(2)
    assert len(second.said("pass")) == 20
    assert [item["metadata"]["resourceVersion"] for item in resources()] == before
    assert "mailtls_kubernetes_writes_total{" not in second.get("/metrics")


def test_a_clean_stop_hands_over_at_once(sandbox: Sandbox, launch: Callable[..., Replica]) -> None:
    """SIGTERM ends the leader with exit code 0, and the other does not wait until the lease has run out."""
    first = launch("one")
    eventually(first.leads)
    second = launch("two")
    eventually(lambda: bool(second.said("standing by")))
    time.sleep(2)
    assert not second.said("leading")
    begun = time.monotonic()
    took, code = first.stop()
    assert (code, took < RELEASED) == (0, True)
    eventually(second.leads)
    assert time.monotonic() - begun < RELEASED
    assert holder(sandbox) == "two"


def test_a_killed_leader_is_followed_after_its_lease(sandbox: Sandbox, launch: Callable[..., Replica]) -> None:
    """After SIGKILL the other waits for the lease to run out."""
    first = launch("one")
    eventually(first.leads)
    second = launch("two")
    eventually(lambda: bool(second.said("standing by")))
    time.sleep(2)
    first.process.kill()
    took = eventually(second.leads)
    assert took > RELEASED
    assert holder(sandbox) == "two"


def test_a_killed_leader_that_comes_back_in_its_pod_leads_at_once(launch: Callable[..., Replica]) -> None:
    """A container restarted in the same pod goes on without waiting for its own lease."""
    first = launch("one")
    eventually(first.leads)
    first.process.kill()
    first.process.wait()
    again = launch("one")
    eventually(again.leads)
    assert again.seconds_between("standing by", "leading") < RELEASED


def test_a_stuck_worker_does_not_hold_the_end_up(sandbox: Sandbox, launch: Callable[..., Replica]) -> None:
    """With a pass that never ends SIGTERM still ends the process, the lease released."""
    replica = launch("one", BARE_STUCK="1")
    sandbox.apply(mail_server())
    eventually(lambda: replica.passes("mx") == 1)
    assert replica.stop()[1] == 0
    assert holder(sandbox) == ""


def test_a_replica_that_stands_by_stops_when_it_is_told(launch: Callable[..., Replica]) -> None:
    """Who does not lead has nothing to wind up."""
    leader = launch("one")
    eventually(leader.leads)
    other = launch("two")
    eventually(lambda: bool(other.said("standing by")))
    assert other.get("/readyz") == "ok"
    assert other.stop()[1] == 0


def test_a_lost_lease_ends_the_process(sandbox: Sandbox, launch: Callable[..., Replica]) -> None:
    """Who is robbed of the Lease exits with 1, to begin afresh, and leaves it with the thief."""
    replica = launch("one")
    eventually(replica.leads)
    sandbox.patch("leases.coordination.k8s.io", "mailtls", {"spec": {"holderIdentity": "thief"}})
    assert replica.process.wait(PATIENCE) == 1
    assert holder(sandbox) == "thief"


def test_idling_costs_next_to_nothing(sandbox: Sandbox, launch: Callable[..., Replica]) -> None:
    """With 100 resources at rest there are no passes, no writes but the lease's, and little CPU time."""
    replica = launch("one")
    sandbox.apply(*[mail_server(f"mx{number}") for number in range(100)])
    eventually(lambda: len(replica.said("pass")) >= 100)
    eventually(lambda: all(is_noted(each) for each in sandbox.objects(MAIL_SERVER_TLS)))
    time.sleep(3)
    passes, used = len(replica.said("pass")), replica.processor_seconds()
    time.sleep(10)
    assert len(replica.said("pass")) == passes
    assert replica.processor_seconds() - used < IDLE_COST
