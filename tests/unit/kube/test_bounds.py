"""How many endpoints of one resource are probed: at the bound all, beyond it none, and nothing is lost by that."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from builders import kube
from builders.contexts import a_context, next_step
from builders.rolling import SMTP, SMTPS, pod, state, workload
from builders.stories import NOW, desired, schedule
from builders.whole_reconcile import MX, PATH, PlayedServers, WholeReconcile
from fakes.cluster import FakeCluster
from mailtls.api.workload import UpdateStrategy
from mailtls.issuance.decide import StageKey
from mailtls.kube.bounds import MOST_ENDPOINTS, excess, with_bound
from mailtls.kube.workloads import observe
from mailtls.probe.target import Depth, Endpoint, Expected, Target
from mailtls.reasons.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mailtls.api.reading.document import Json
    from mailtls.kube.workload import WorkloadState

PODS = "/api/v1/namespaces/mail/pods"
STATEFUL_SET = "/apis/apps/v1/namespaces/mail/statefulsets/postfix"
PORTS = 10  # at two addresses of each pod
FIT = MOST_ENDPOINTS // (2 * PORTS)


def of(pods: int, name: str = "postfix") -> WorkloadState:
    """A workload whose pods have two ports at one address each."""
    return state(*(pod(f"{name}-{number}") for number in range(pods)), of=workload(name=name))


def test_endpoints_of_all_workloads_count_together_and_the_last_that_fits_is_kept() -> None:
    """Ports at addresses of pods that stay; whoever has more is told how many, and what to do."""
    half = MOST_ENDPOINTS // 4
    full = (of(half), of(half, "dovecot"))
    leaving = replace(pod("leaving"), terminating=True)
    assert with_bound([each.workload for each in full], full) == full
    assert excess((replace(full[0], pods=(*full[0].pods, leaving)), full[1])) is None
    over = (of(half + 1), full[1])
    found = excess(over)
    assert found is not None
    assert found.reason is Reason.TOO_MANY_ENDPOINTS
    for part in ("StatefulSet/postfix and StatefulSet/dovecot", str(MOST_ENDPOINTS + 2), "spec.workloads", "renewed"):
        assert part in found.message
    assert [(each.pods, each.finding) for each in with_bound([each.workload for each in over], over)] == [
        ((), found)
    ] * 2
    assert excess((of(1), replace(over[0], pods=(), finding=found))) is found  # what is refused stays so


def test_pod_with_two_addresses_counts_twice_and_one_without_any_once() -> None:
    """Both families are probed; a pod that has no address yet will have one."""
    two = replace(pod("x"), addresses=("198.51.100.1", "2001:db8::1"))
    none = replace(pod("x"), addresses=())
    for one, fit in ((two, MOST_ENDPOINTS // 4), (none, MOST_ENDPOINTS // 2)):
        assert excess((state(*[one] * fit),)) is None
        assert excess((state(*[one] * (fit + 1)),)) is not None


@pytest.mark.parametrize("counted", ["replicas", "currentNumberScheduled"])
def test_pods_beyond_the_bound_are_not_even_read(counted: str) -> None:
    """Each is kilobytes of JSON, and the status of the workload says how many there are."""
    whole = workload(ports=(SMTP, SMTPS))
    cluster = FakeCluster()
    cluster.create(STATEFUL_SET.rpartition("/")[0], kube.workload(status={counted: MOST_ENDPOINTS // 2 + 1}))
    found = observe(cluster, "mail", whole, "mx-tls").finding
    assert found is not None
    assert (found.reason, cluster.lists) == (Reason.TOO_MANY_ENDPOINTS, [])
    cluster.objects[STATEFUL_SET]["status"][counted] -= 1
    assert observe(cluster, "mail", whole, "mx-tls").finding is None
    assert cluster.lists == [PODS]


def test_certificate_is_renewed_though_no_pod_is_probed() -> None:
    """The bound is on what the pods cost, so that what costs nothing goes on."""
    over = of(MOST_ENDPOINTS)
    beyond = with_bound([over.workload], (over,))
    wanted = desired(workloads=(over.workload,))
    due = replace(schedule(), renewal_at=NOW - timedelta(hours=1))
    assert isinstance(next_step(a_context(wanted, workloads=beyond, schedule=due), NOW), StageKey)


class Good(PlayedServers):
    """Servers that read their files by themselves; `probed` counts."""

    probed = 0

    def serves_expected(self, pod: str) -> bool:
        """Whether that pod serves the expected certificate by now."""
        return True

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Count, and answer for each target."""
        asked = list(targets)
        self.probed += len(asked)
        return super().probe(asked, expected, depth)


def fleet() -> tuple[WholeReconcile, Good]:
    """As many pods as are probed, of ten ports at two addresses each."""
    made: list[Good] = []

    def servers(_cluster: object, clock: object) -> Good:
        made.append(Good(clock))  # type: ignore[arg-type]
        return made[0]

    mail = WholeReconcile(pods=FIT, servers=servers)
    ports: list[Json] = [{"port": 2000 + number, "tlsMode": "StartTLS"} for number in range(PORTS)]
    mail.cluster.objects[PATH]["spec"]["workloads"][0] |= {"ports": ports, "updateStrategy": str(UpdateStrategy.NONE)}
    for path, body in mail.cluster.objects.items():
        if path.startswith(PODS):
            body["status"]["podIPs"].append({"ip": f"2001:db8::{path.rpartition('-')[2]}"})
    return mail, made[0]


def said(mail: WholeReconcile) -> dict[str, tuple[str, str]]:
    """What the conditions on pods say, and whether a person is needed."""
    kinds = ("RolledOut", "Verified", "Ready", "Stalled")
    return {kind: (found["status"], found["reason"]) for kind in kinds if (found := mail.condition(kind))}


def test_resource_is_verified_at_the_bound_stops_above_it_and_goes_on_below() -> None:
    """Never half: above it nobody is probed or touched and the conditions say why; with one pod less all are again."""
    mail, servers = fleet()
    mail.run()
    assert said(mail) == {
        "RolledOut": ("True", "RolledOut"),
        "Verified": ("True", "Verified"),
        "Ready": ("True", "Ready"),
    }
    served, probed = mail.cluster.objects[PATH]["status"]["served"], servers.probed
    assert (served, len(mail.cluster.objects[PATH]["status"]["endpoints"])) == (
        f"{MOST_ENDPOINTS}/{MOST_ENDPOINTS}",
        100,
    )

    mail.cluster.create(PODS, kube.pod(f"postfix-{FIT}", labels={"app": "postfix"}))
    mail.clock.advance(timedelta(hours=2))
    mail.run()
    reason = str(Reason.TOO_MANY_ENDPOINTS)
    assert said(mail) == dict.fromkeys(("RolledOut", "Verified", "Ready"), ("False", reason)) | {
        "Stalled": ("True", reason)
    }
    assert (servers.probed, mail.cluster.reloaded) == (probed, [])
    assert mail.condition("Stored")["status"] == "True"
    assert mail.cluster.objects[PATH]["status"].get("endpoints") is None

    mail.cluster.delete(f"{PODS}/postfix-{FIT}")
    mail.run()
    assert said(mail)["Ready"] == ("True", "Ready")
    assert mail.cluster.objects[PATH]["status"]["served"] == served
    assert servers.probed >= probed + MOST_ENDPOINTS


def test_bound_is_reached_between_two_steps_of_one_reconcile() -> None:
    """A workload that grows while its pods are reloaded is read anew with each, and stops there."""
    mail = WholeReconcile(pods=3)
    ports: list[Json] = [{"port": 2000 + number, "tlsMode": "StartTLS"} for number in range(PORTS)]
    mail.cluster.objects[PATH]["spec"]["workloads"][0] |= {"ports": ports}

    def grows(_pod: str) -> object:
        mail.cluster.objects[STATEFUL_SET]["status"]["replicas"] = MOST_ENDPOINTS
        return answer(_pod)

    answer = mail.cluster.on_reload
    mail.cluster.on_reload = grows  # type: ignore[assignment]
    mail.run()
    assert mail.cluster.reloaded == ["postfix-0"]
    assert said(mail)["RolledOut"] == ("False", str(Reason.TOO_MANY_ENDPOINTS))
    assert mail.reconcile(MX) is not None  # and it is looked at again
