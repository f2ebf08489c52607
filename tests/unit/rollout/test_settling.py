"""A server that takes minutes from its reload to serving, as `settleTime` says: whole reconciles."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from builders.whole_reconcile import PATH, Pods, Servers, WholeReconcile
from fakes.clock import WallClock
from mailtls.api.reading.document import Json
from mailtls.controller.status_writer import CHECK_LAG
from mailtls.net.backoff import PROBE
from mailtls.probe.target import Depth, Endpoint, Expected, Target
from mailtls.reasons.reason import Finding, Reason
from mailtls.times import parse_rfc3339

SECOND = timedelta(seconds=1)
TAKES = 60 * SECOND


class SlowServers(Servers):
    """Mail servers that serve the new certificate a minute after their pod was reloaded; a probe takes seconds."""

    def __init__(self, cluster: Pods, clock: WallClock) -> None:
        super().__init__(cluster, clock)
        self.first_seen: dict[str, datetime] = {}

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Answer for each target at once."""
        self.clock.advance(6 * SECOND)
        now, found = self.clock.now(), []
        for each in super().probe(targets, expected, depth):
            begun = self.first_seen.setdefault(each.target.pod, now) if each.failure is None else now
            is_late = each.failure is None and now < begun + TAKES
            found.append(self._old(each) if is_late else each)
        return found

    def _old(self, endpoint: Endpoint) -> Endpoint:
        reloaded, self.cluster.reloaded = self.cluster.reloaded, []
        old = self._endpoint(endpoint.target, Expected(endpoint.target.server_name))
        self.cluster.reloaded = reloaded
        return old


def test_long_settle_time_is_a_rollout_under_way_and_no_fault() -> None:
    """Each pod is reloaded once, its server has its time, and meanwhile nobody is alarmed."""
    mail = WholeReconcile(pods=2, servers=SlowServers)
    mail.cluster.objects[PATH]["spec"]["workloads"][0]["settleTime"] = "2m"
    said: list[tuple[str, str]] = []
    for _ in range(100):
        delay = mail.run()
        condition = mail.condition("RolledOut")
        said.append((condition["status"], condition["reason"]))
        if condition["status"] == "True":
            break
        assert "Its server has time until" in condition["message"]
        assert mail.condition("Ready")["reason"] == "RollingOut"
        mail.clock.advance(timedelta(seconds=delay or 0.0))
    assert set(said[:-1]) == {("False", "RollingOut")}
    assert said[-1] == ("True", "RolledOut")
    assert mail.cluster.reloaded == ["postfix-0", "postfix-1"]
    assert not [each for each in mail.events() if each["type"] == "Warning"]


def test_status_is_written_seldom_while_only_the_times_of_probes_change() -> None:
    """Each pod is probed every few seconds; what is said and each result come at once, the times a little later."""
    mail = WholeReconcile(pods=2, servers=SlowServers)
    mail.cluster.objects[PATH]["spec"]["workloads"][0]["settleTime"] = "2m"
    reconciles = 0
    while mail.condition("RolledOut").get("status") != "True":
        reconciles, delay = reconciles + 1, mail.run()
        shown = max(parse_rfc3339(each["checkedAt"]) for each in endpoints(mail))
        assert mail.clock.now() - shown < CHECK_LAG + 10 * SECOND
        mail.clock.advance(timedelta(seconds=delay or 0.0))
    assert reconciles > 10
    assert mail.cluster.writes.count(("merge", PATH)) <= 8  # the beginning and the end of each pod, and its minute


@pytest.mark.parametrize("time", ["2099-01-01T00:00:00Z", "2001-01-01T00:00:00Z", "soon", None])
def test_time_of_a_probe_that_somebody_wrote_is_put_right(time: str | None) -> None:
    """Whoever may write the status can end neither the reports nor the reconciles of a resource by it."""
    mail = WholeReconcile(pods=1)
    mail.run()
    (good,) = deepcopy(endpoints(mail))
    endpoints(mail)[0]["checkedAt"] = time
    if time is None:
        del endpoints(mail)[0]["checkedAt"]
    mail.run()
    assert endpoints(mail) == [good]


class BusyServers(Servers):
    """Mail servers that answer 421 from their reload on, until they have room again."""

    def __init__(self, cluster: Pods, clock: WallClock) -> None:
        super().__init__(cluster, clock)
        self.has_room_at = clock.now() + timedelta(minutes=12)

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Answer for each target at once."""
        busy = Finding(Reason.SERVER_BUSY, "The server says to come back later.")
        is_busy = self.clock.now() < self.has_room_at
        return [
            replace(each, findings=(busy,), served_sha256=None) if is_busy and not each.failure else each
            for each in super().probe(targets, expected, depth)
        ]


def test_server_that_stays_busy_has_the_time_of_the_rollout_and_is_no_reason_to_go_back() -> None:
    """It says nothing about the certificate: the other pod is left alone, and all goes on once there is room."""
    mail = WholeReconcile(pods=2, servers=BusyServers)
    begun, failed_after = mail.clock.now(), None
    while mail.condition("RolledOut").get("status") != "True":
        assert mail.clock.now() < begun + timedelta(hours=2)
        delay = mail.run()
        has_failed = 'mailtls_rollouts_total{outcome="failed"} 1.0' in mail.metrics.text().decode()
        failed_after = mail.clock.now() - begun if has_failed and failed_after is None else failed_after
        if mail.clock.now() < begun + timedelta(minutes=12):
            assert mail.cluster.reloaded == ["postfix-0"]
            assert mail.condition("Ready")["reason"] == mail.condition("RolledOut")["reason"] == "ServerBusy"
        mail.clock.advance(timedelta(seconds=delay or 0.0))
    assert failed_after is not None
    assert failed_after >= timedelta(minutes=10)
    assert mail.cluster.reloaded == ["postfix-0", "postfix-1"]
    assert not [
        each for each in mail.cluster.objects[PATH]["status"].get("history", ()) if each["event"] == "RolledBack"
    ]


def endpoints(mail: WholeReconcile) -> list[Json]:
    """What the status says of the endpoints."""
    found: list[Json] = mail.cluster.objects[PATH]["status"]["endpoints"]
    return found


class NotedServers(SlowServers):
    """Slow servers that write down which pod is probed when, and how many were reloaded by then."""

    def __init__(self, cluster: Pods, clock: WallClock) -> None:
        super().__init__(cluster, clock)
        self.probed: list[tuple[str, datetime, int]] = []

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Answer, and write down when."""
        found = super().probe(targets, expected, depth)
        self.probed += [(each.target.pod, each.checked_at, len(self.cluster.reloaded)) for each in found]
        return found


def test_pods_that_wait_for_their_turn_are_not_probed_with_each_step() -> None:
    """Only the pod on its way is; the others in their own time, which grows, until they are reloaded themselves."""
    made: list[NotedServers] = []

    def servers(cluster: Pods, clock: WallClock) -> NotedServers:
        made.append(NotedServers(cluster, clock))
        return made[0]

    mail, pods = WholeReconcile(pods=4, servers=servers), [f"postfix-{number}" for number in range(4)]
    mail.cluster.objects[PATH]["spec"]["workloads"][0]["settleTime"] = "2m"
    while mail.condition("RolledOut").get("status") != "True":
        mail.clock.advance(timedelta(seconds=mail.run() or 0.0))
    assert mail.cluster.reloaded == pods
    for number, name in enumerate(pods):
        first, *later = [at for pod, at, reloaded in made[0].probed if pod == name and reloaded <= number]
        for before, at in pairwise((first, *later)):
            assert at - before >= PROBE.after_failing_for(before - first), name
        assert [at for pod, at, reloaded in made[0].probed if pod == name and reloaded == number + 1]
