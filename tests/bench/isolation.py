"""Whether the dead delay the living: 40 healthy resources alone, and beside 60 and 80 that wait on what is dead.

The dead come first and have the operator to themselves, until those of them that can get a certificate have one; then
the healthy are applied, each time to a fresh operator. A healthy one is a resource as `bench operator` has it.
"""

from __future__ import annotations

import statistics
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.dead import black_hole, dripping
from bench.figures import Chapter, Figure
from bench.measures import APPLYING
from bench.stage import TSIG_SECRET, Stage, stage
from testbed.console import say, step
from testbed.layout import NODE_ADDRESS
from testbed.sandbox import MAIL_SERVER_TLS, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.cluster import Cluster

HEALTHY = 40
DEAD = 20  # of each kind
RATIO_TARGET = 1.2
ANSWER_TARGET = 1.0  # seconds
ROUNDS = 3
_WITHIN = 120.0
_DEAD_CA, _DEAD_DNS, _DEAD_PODS, _DRIPPING_CA = 19443, 19053, 19025, 19444
_KIND = {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS"}
_ROOTS = "roots"
_NAMESPACES = ("dead-ca", "dead-dns", "dead-pods", "dripping-ca")


@dataclass(slots=True)
class Round:
    """What one run took, and how long the slowest answer of the metrics endpoint did."""

    seconds: float = 0.0
    processor: float = 0.0  # seconds, the operator's
    others: float = 0.0  # the share of the machine's busy time that neither the operator nor the cluster used
    answers: list[float] = field(default_factory=list)


def chapter(cluster: Cluster) -> Chapter:
    """Measure; the runs take turns, so that whatever else the machine does falls on all alike."""
    took: dict[str, list[Round]] = {"alone": [], "beside the dead": [], "beside the dead and a CA that drips": []}
    for number in range(ROUNDS):
        for kind, rounds in took.items():
            with step(f"{HEALTHY} healthy resources, {kind}, round {number + 1} of {ROUNDS}"):
                rounds.append(_run(cluster, kind))
            last = rounds[-1]
            say(
                f"{last.seconds:.2f} s, {last.processor:.2f} s of processor time;"
                f" /metrics at most {max(last.answers):.2f} s; {last.others:.0%} of the machine was used by others"
            )
    medians = {kind: statistics.median(each.seconds for each in rounds) for kind, rounds in took.items()}
    alone = medians["alone"]
    slowest = max(max(each.answers) for rounds in took.values() for each in rounds)
    return Chapter(
        f"{HEALTHY} healthy resources beside {DEAD} on a CA and {DEAD} on a DNS server that drop packets,"
        f" and {DEAD} whose pods do, medians of {ROUNDS}",
        (
            *(Figure(f"all {HEALTHY} are Ready, {kind}", seconds, "s") for kind, seconds in medians.items()),
            *(
                Figure(f"{kind}, to alone", seconds / alone, "", RATIO_TARGET, is_binding=True)
                for kind, seconds in medians.items()
                if kind != "alone"
            ),
            Figure("slowest answer of /metrics", slowest, "s", ANSWER_TARGET, is_binding=True),
        ),
    )


def _run(cluster: Cluster, kind: str) -> Round:
    more = {"MAILTLS_ALLOWED_NETWORKS": f"{NODE_ADDRESS}/32"}
    with ExitStack() as kept:
        for port in (_DEAD_CA, _DEAD_DNS, _DEAD_PODS):
            kept.enter_context(black_hole(port))
        ready = kept.enter_context(stage(cluster, namespaces=_NAMESPACES, settings=more))
        pki = ready.layout.pki
        kept.enter_context(dripping(_DRIPPING_CA, pki / "pebble.crt", pki / "pebble.key"))
        ready.apply("warm-up", ["warm-up"])
        ready.readiness.wait(["warm-up"], _WITHIN)
        if kind != "alone":
            _bury(ready, drips=kind.endswith("drips"))
        return _healthy(ready)


def _healthy(ready: Stage) -> Round:
    names = [f"well-{number:02}" for number in range(HEALTHY)]
    took = Round()
    with _asking_for_metrics(ready, took):
        before, begun = ready.cost(), time.monotonic()
        with ThreadPoolExecutor(max_workers=APPLYING) as users:
            list(users.map(lambda name: ready.apply(name, [name]), names))
        took.seconds = max(ready.readiness.wait(names, _WITHIN).values()) - begun
        after = ready.cost()
    took.processor = after.operator - before.operator
    took.others = 1 - (took.processor + after.parts - before.parts) / (after.machine - before.machine)
    return took


@contextmanager
def _asking_for_metrics(ready: Stage, took: Round) -> Iterator[None]:
    """Scrape ten times a second meanwhile."""
    ended = threading.Event()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask() -> None:
        while True:
            begun = time.monotonic()
            with opener.open(f"http://127.0.0.1:{ready.operator.port}/metrics", timeout=30) as answer:
                answer.read()
            took.answers.append(time.monotonic() - begun)
            if ended.wait(0.1):
                return

    asking = threading.Thread(target=ask, name="metrics")
    asking.start()
    try:
        yield
    finally:
        ended.set()
        asking.join()


def _bury(ready: Stage, *, drips: bool) -> None:
    """Apply the dead, and wait until all that can have a certificate have it and the others are waited on."""
    dead_ca, dead_dns, dead_pods, dripping_ca = (ready.more[each] for each in _NAMESPACES)
    for number in range(DEAD):
        _put_pod(dead_pods, number)
    for number in range(DEAD):
        _apply(dead_pods, ready, number, workloads=[_workload(number)])
    for number in range(DEAD):
        _wait_stored(dead_pods, number)
    dead_dns.put_secret(TSIG_SECRET, {"secret": ready.zone.key.secret.encode()})
    for sandbox in (dead_ca, dead_dns, dripping_ca):
        sandbox.put_secret(_ROOTS, {"ca.crt": ready.pebble.authority.read_bytes()})
    for number in range(DEAD):
        _apply(dead_ca, ready, number, acme=_own(f"https://{NODE_ADDRESS}:{_DEAD_CA}/dir", ready))
        _apply(dead_dns, ready, number, acme=_own(ready.pebble.directory_url, ready, _by_dead_dns(ready)))
        if drips:
            _apply(dripping_ca, ready, number, acme=_own(f"https://{NODE_ADDRESS}:{_DRIPPING_CA}/dir", ready))
    for sandbox in (dead_ca, dead_dns, *((dripping_ca,) if drips else ())):
        for number in range(DEAD):
            sandbox.wait_for("secrets", f"dead-{number:02}-tls-next", lambda found: found is not None, within=_WITHIN)


def _apply(sandbox: Sandbox, ready: Stage, number: int, **spec: Any) -> None:
    name = f"dead-{number:02}"
    names = [ready.zone.host(f"{sandbox.name}-{name}")]
    metadata = {"name": name}
    sandbox.apply({**_KIND, "metadata": metadata, "spec": {"dnsNames": names, "secretName": f"{name}-tls", **spec}})


def _own(server: str, ready: Stage, *solvers: dict[str, Any]) -> dict[str, Any]:
    bundle = {"secretKeyRef": {"name": _ROOTS, "key": "ca.crt"}}
    ways = list(solvers) or [{"http01": {"selfCheck": False}}]
    return {"server": server, "email": f"tenant@{ready.zone.name}", "caBundle": bundle, "solvers": ways}


def _by_dead_dns(ready: Stage) -> dict[str, Any]:
    rfc2136 = {
        "server": f"{NODE_ADDRESS}:{_DEAD_DNS}",
        "tsigKeyName": ready.zone.key.name,
        "tsigSecretRef": {"name": TSIG_SECRET, "key": "secret"},
    }
    return {"dns01": {"rfc2136": rfc2136}}


def _workload(number: int) -> dict[str, Any]:
    port = {"port": _DEAD_PODS, "tlsMode": "StartTLS"}
    return {"kind": "StatefulSet", "name": f"dead-{number:02}", "updateStrategy": "None", "ports": [port]}


def _put_pod(sandbox: Sandbox, number: int) -> None:
    """Make a pod that runs nowhere, and say that it is ready at an address that drops what is sent to its port."""
    name = f"dead-{number:02}"
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"schedulerName": "nobody", "containers": [{"name": "postfix", "image": "registry.invalid/none"}]},
    }
    spec = {"serviceName": name, "replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    sandbox.apply({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": spec})
    sandbox.wait_for("pods", f"{name}-0", lambda found: found is not None)
    status = {
        "phase": "Running",
        "podIP": NODE_ADDRESS,
        "podIPs": [{"ip": NODE_ADDRESS}],
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [
            {
                "name": "postfix",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "image": "registry.invalid/none",
                "imageID": "none",
                "containerID": "containerd://none",
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
            }
        ],
    }
    sandbox.patch("pods", f"{name}-0", {"status": status}, subresource="status")


def _wait_stored(sandbox: Sandbox, number: int) -> None:
    sandbox.wait_for_condition(MAIL_SERVER_TLS, f"dead-{number:02}", "Stored", within=_WITHIN)
