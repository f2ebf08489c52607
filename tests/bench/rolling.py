"""What a renewal costs those who use the mail server: beside `kubectl rollout restart`, in one run.

Postfix pods get one renewal after the other while senders deliver by enforced STARTTLS; Dovecot pods while sessions are
held open. Then a certificate comes that clients refuse.
"""

from __future__ import annotations

import base64
import statistics
import time
from typing import TYPE_CHECKING, Final

from bench.figures import Chapter, Figure
from bench.mail_clients import Outcome, delivering, holding
from bench.served import WITHIN, Served, first, serving
from bench.stage import solvers, stage
from bench.watching import watching
from testbed import containers, trees
from testbed.console import say, step
from testbed.mailserver import is_rolled_out, self_signed
from testbed.pebble import Pebble, PebbleSettings
from testbed.sandbox import MAIL_SERVER_TLS

if TYPE_CHECKING:
    from bench.stage import Stage
    from testbed.cluster import Cluster

RENEWALS: Final = 20
RESTARTS: Final = 3
SENDERS: Final = 4
SESSIONS: Final = 6
MANY: Final = 30
LATENCY_TARGET: Final = 1.5  # seconds, for two pods
WRITES_TARGET: Final = 2.0
REFUSED_TARGET: Final = 5.0  # seconds
USER, PASSWORD = "reader", "bench"


def chapters(cluster: Cluster) -> list[Chapter]:
    """Measure all of it on one cluster."""
    containers.import_image(cluster.layout, trees.ensure_image())
    with stage(cluster) as ready:
        roots = {"ca.crt": ready.pebble.root()}
        ready.sandbox.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "roots"}, "data": roots})
        return [_delivering(ready), _holding(ready), _speed(ready), _refused(ready, cluster)]


def _delivering(ready: Stage) -> Chapter:
    """Renewals of three Postfix pods while mail is delivered, and restarts of the same pods."""
    with serving(ready, "delivering", 3) as served:
        clients = served.service()
        with step(f"{RENEWALS} renewals while {SENDERS} senders deliver"), delivering(clients, SENDERS) as ours:
            for _ in range(RENEWALS):
                served.renew()
        with step(f"{RESTARTS} restarts while they deliver"), delivering(clients, SENDERS) as theirs:
            for _ in range(RESTARTS):
                _restart(served)
    _tell("reload", ours)
    _tell("restart", theirs)
    return Chapter(
        f"3 Postfix pods, {SENDERS} senders that deliver by enforced STARTTLS all the time",
        (
            Figure(f"messages tried during {RENEWALS} renewals by Reload", ours.tried, "messages"),
            Figure("of these failed or deferred", len(ours.faults), "messages", 0, is_binding=True),
            Figure(f"messages tried during {RESTARTS} of `kubectl rollout restart`", theirs.tried, "messages"),
            Figure(f"of these failed or deferred, by {RESTARTS} restarts", len(theirs.faults), "messages"),
        ),
    )


def _holding(ready: Stage) -> Chapter:
    """Renewals of three Dovecot pods while sessions are open, and restarts of the same pods."""
    with serving(ready, "holding", 3, "dovecot") as served:
        with (
            step(f"{RENEWALS} renewals while {SESSIONS} IMAP sessions are open"),
            holding(served.service(), USER, PASSWORD, SESSIONS) as ours,
        ):
            for _ in range(RENEWALS):
                served.renew()
        with step("a restart while they are open"), holding(served.service(), USER, PASSWORD, SESSIONS) as theirs:
            _restart(served)
    _tell("reload", ours)
    _tell("restart", theirs)
    return Chapter(
        f"3 Dovecot pods, {SESSIONS} IMAP sessions that are held open",
        (
            Figure(
                f"sessions dropped by {RENEWALS} renewals by Reload", len(ours.faults), "sessions", 0, is_binding=True
            ),
            Figure("faults by one `kubectl rollout restart`", len(theirs.faults), "faults"),
        ),
    )


def _restart(served: Served) -> None:
    cluster, sandbox, name = served.ready.sandbox.cluster, served.ready.sandbox, served.name
    cluster.kubectl("rollout", "restart", f"statefulset/{name}", "-n", sandbox.name)
    sandbox.wait_for("statefulsets.apps", name, is_rolled_out, within=WITHIN)


def _tell(how: str, outcome: Outcome) -> None:
    said = f": {outcome.faults[0]}" if outcome.faults else ""
    say(f"{how}: {len(outcome.faults)} of {outcome.tried} failed{said}")


def _speed(ready: Stage) -> Chapter:
    """From the changed Secret until every pod is verified, with nothing else going on."""
    with serving(ready, "two", 2) as served, step("renewals of 2 pods"):
        two = [served.renew() for _ in range(RENEWALS // 2)]
    with serving(ready, "many", MANY) as served, step(f"renewals of {MANY} pods"):
        mark = ready.audit.mark()
        many = [served.renew() for _ in range(2)]
        time.sleep(0.5)
        written = [each for each in ready.requests(mark) if each.is_write and each.resource != "secrets"]
    return Chapter(
        "from the changed Secret until the status says that every port of every pod serves it",
        (
            Figure("2 pods, median", statistics.median(two), "s", LATENCY_TARGET),
            Figure("2 pods, slowest", max(two), "s"),
            Figure(f"{MANY} pods, one after the other", statistics.median(many), "s"),
            Figure(
                "Kubernetes writes per pod, those of Secrets aside", len(written) / len(many) / MANY, "requests",
                WRITES_TARGET,
            ),
        ),
    )  # fmt: skip


def _refused(ready: Stage, cluster: Cluster) -> Chapter:
    """A pair that somebody writes over ours, and a certificate that passes every check but that clients refuse."""
    stranger = Pebble.launch(cluster.layout, PebbleSettings(http_port=81, tls_port=444))
    try:
        with serving(ready, "refused", MANY) as served:
            with step("a pair that the gate refuses"), watching(served.server.addresses()) as through:
                data = {
                    name: base64.b64encode(value).decode() for name, value in self_signed([served.server.host]).items()
                }
                good = served.stored()
                ready.sandbox.patch("secrets", served.server.secret or "", {"data": data})
                first(lambda: served.stored() == good)
                time.sleep(3.0)
            with (
                step("a certificate whose root clients do not know"),
                watching(served.server.addresses()) as blind,
            ):
                bundle = {"secretKeyRef": {"name": "stranger", "key": "ca.crt"}}
                ready.sandbox.put_secret("stranger", {"ca.crt": stranger.authority.read_bytes()})
                own = {"server": stranger.directory_url, "caBundle": bundle, "solvers": solvers(ready.zone)}
                served.apply(acme={**own, "email": f"refused@{ready.zone.name}"}, rollout={"onFailure": "Rollback"})
                ready.sandbox.wait_for_condition(
                    MAIL_SERVER_TLS, served.name, "RolledOut", status="False", reason="RolledBack", within=WITHIN
                )
                first(lambda: served.stored() == good)
                time.sleep(3.0)
    finally:
        stranger.stop()
    return Chapter(
        f"a certificate that clients refuse, and {MANY} pods",
        (
            Figure("servers that it reaches through the gate", len(through.lasted(good)), "pods", 0, is_binding=True),
            Figure("servers that it reaches past the gate", len(blind.lasted(good)), "pods", 1, is_binding=True),
            Figure("each of them for at most", max(blind.lasted(good).values(), default=0.0), "s", REFUSED_TARGET),
        ),
    )
