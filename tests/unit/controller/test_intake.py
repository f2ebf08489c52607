"""The intake: which events wake which resources, and which are only our own echo."""

import itertools
import threading
from typing import Any

import pytest

from fakes.cluster import FakeCluster
from mailtls.api.reading.document import Json
from mailtls.api.spec import Key
from mailtls.api.workload import WorkloadKind
from mailtls.controller import intake
from mailtls.controller.intake import CALM, SWEEP, Intake, Seen, Sweeper
from mailtls.kube.claims import Claims
from mailtls.kube.interface import Unreachable

MX = Key("mail", "mx")


def mst(name: str = "mx", version: str = "1", **changes: Any) -> Json:
    """Make a resource as a watch shows it."""
    metadata = {
        "namespace": "mail",
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": version,
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    return {
        "kind": "MailServerTLS",
        "metadata": metadata | changes,
        "spec": {"secretName": f"{name}-tls"},
    }


def secret(owner: str | None = "mx", version: str = "1") -> Json:
    """Make a Secret with our label."""
    labels = {"app.kubernetes.io/managed-by": "mailtls"} | ({"mailtls.dev/owner": owner} if owner else {})
    metadata = {"namespace": "mail", "name": "mx-tls", "uid": "uid-secret", "resourceVersion": version}
    return {"kind": "Secret", "metadata": metadata | {"labels": labels}}


def status_writer(manager: str) -> Json:
    """Make the entry that a write of the status leaves."""
    return {"manager": manager, "subresource": "status"}


class Desk:
    """An intake and what it woke."""

    def __init__(self) -> None:
        self.woken: list[Key] = []
        self.seen = Seen()
        self.soon: list[tuple[Key, float]] = []
        self.claims = Claims()
        self.intake = Intake(
            self.woken.append, lambda key, delay: self.soon.append((key, delay)), self.claims, self.seen
        )

    def take(self) -> list[Key]:
        """Return what was woken since the last call."""
        woken, self.woken[:] = list(self.woken), []
        return woken


def test_a_new_resource_and_each_wish_wake_it() -> None:
    """Creation, a new spec, an annotation and the beginning of deletion are news."""
    desk = Desk()
    for change, resource in (
        ("ADDED", mst()),
        ("MODIFIED", mst(version="2", generation=2)),
        ("MODIFIED", mst(version="3", generation=2, annotations={"mailtls.dev/renew": "1"})),
        ("MODIFIED", mst(version="4", generation=2, deletionTimestamp="2026-01-01T00:00:00Z")),
        ("DELETED", mst(version="5")),
    ):
        desk.intake.resource(change, resource)
        assert desk.take() == [MX]


def test_annotations_of_others_wake_nobody_and_are_not_kept() -> None:
    """Each may hold 256 KiB, of every resource."""
    desk = Desk()
    desk.intake.resource("ADDED", mst())
    desk.take()
    desk.intake.resource("MODIFIED", mst(version="2", annotations={"example.com/notes": "x" * 250_000}))
    assert desk.take() == []
    desk.intake.resource("MODIFIED", mst(version="3", annotations={"mailtls.dev/renew": "x" * 250_000}))
    assert desk.take() == [MX]
    assert len(repr(desk.intake._decided)) < 1000


def test_our_own_status_wakes_nobody() -> None:
    """An event that changed only the status, written by us, is dropped, whether or not its answer came first."""
    desk = Desk()
    desk.intake.resource("ADDED", mst())
    desk.take()
    desk.intake.resource("MODIFIED", mst(version="2", managedFields=[status_writer("mailtls")]))
    assert desk.take() == []


def test_a_status_written_by_somebody_else_is_put_right() -> None:
    """Who edits the status sees it corrected; our correction is then known by its version."""
    desk = Desk()
    desk.intake.resource("ADDED", mst())
    desk.take()
    foreign = [status_writer("mailtls"), status_writer("kubectl-edit")]
    desk.intake.resource("MODIFIED", mst(version="2", managedFields=foreign))
    assert desk.take() == [MX]
    desk.seen.record(mst(version="3"))
    desk.intake.resource("MODIFIED", mst(version="3", managedFields=foreign))
    assert desk.take() == []


def test_a_wish_that_reaches_us_only_with_our_own_write_is_not_lost() -> None:
    """When a listing shows our version, but the user's edit before it was never seen, the resource is woken."""
    desk = Desk()
    desk.intake.resource("ADDED", mst())
    desk.take()
    desk.seen.record(mst(version="3", generation=2))
    desk.intake.resource("MODIFIED", mst(version="3", generation=2))
    assert desk.take() == [MX]


def test_the_first_listing_repeats_nothing_and_later_ones_wake_everything() -> None:
    """What was primed is not done twice at the start; after a gap in the watch everything is looked at."""
    desk = Desk()
    desk.intake.prime([mst()])
    assert desk.take() == [MX]
    desk.intake.resource(None, mst())
    assert desk.take() == []
    desk.intake.resource(None, mst())
    assert desk.take() == [MX]


def test_a_first_pass_before_the_first_listing_is_not_repeated() -> None:
    """A status that we wrote between priming and the listing is no reason for a second pass; one of others is."""
    desk = Desk()
    desk.intake.prime([mst(), mst("other")])
    desk.take()
    desk.intake.resource(None, mst(version="2", managedFields=[status_writer("mailtls")]))
    desk.intake.resource(None, mst("other", version="2", managedFields=[status_writer("kubectl-edit")]))
    assert desk.take() == [Key("mail", "other")]


def test_a_change_between_priming_and_the_first_listing_is_news() -> None:
    """A resource that changed in the meantime, or came new, is woken."""
    desk = Desk()
    desk.intake.prime([mst()])
    desk.take()
    desk.intake.resource(None, mst(version="2", generation=2))
    desk.intake.resource(None, mst("new"))
    assert desk.take() == [MX, Key("mail", "new")]


def test_those_that_wait_for_a_secret_are_woken_when_it_comes_free() -> None:
    """When the resource that holds a Secret goes, its rival is looked at again."""
    desk = Desk()
    rival = mst("rival")
    rival["spec"]["secretName"] = "mx-tls"
    desk.intake.prime([mst(), rival])
    desk.take()
    desk.intake.resource("DELETED", mst())
    assert sorted(desk.take()) == [MX, Key("mail", "rival")]


def test_a_deleted_or_edited_secret_wakes_its_owner() -> None:
    """What somebody does to our Secrets is put right at once."""
    desk = Desk()
    desk.intake.secret("MODIFIED", secret())
    desk.intake.secret("DELETED", secret(version="2"))
    assert desk.take() == [MX, MX]


def test_our_own_secret_wakes_nobody_but_its_deletion_does() -> None:
    """The echo of storing is dropped; that the same version is deleted is not."""
    desk = Desk()
    desk.seen.record(secret())
    desk.intake.secret("ADDED", secret())
    assert desk.take() == []
    desk.intake.secret("DELETED", secret())
    assert desk.take() == [MX]


def test_a_secret_whose_label_names_another_wakes_the_one_that_keeps_it() -> None:
    """Whoever writes into the Secret may have changed its labels with the rest."""
    desk = Desk()
    desk.intake.prime([mst()])
    desk.take()
    desk.intake.secret("MODIFIED", secret(owner="somebody"))
    assert desk.take() == [Key("mail", "somebody"), MX]
    desk.intake.secret("DELETED", secret(owner=None))
    assert desk.take() == [MX]


def test_a_secret_without_an_owner_is_nobodys() -> None:
    """Account keys carry our label but belong to no resource."""
    desk = Desk()
    desk.intake.secret("DELETED", secret(owner=None))
    assert desk.take() == []


def test_a_change_of_the_pods_wakes_those_who_list_the_workload_in_a_moment() -> None:
    """The index follows the resources: primed, changed, swept and deleted."""
    desk, listing = Desk(), {"secretName": "mx-tls", "workloads": [{"kind": "StatefulSet", "name": "postfix"}]}
    desk.intake.prime([mst() | {"spec": listing}])
    desk.take()

    def woke(ready: int) -> bool:
        meta = {"namespace": "mail", "name": "postfix", "uid": "u"}
        seen = {"metadata": meta, "spec": {"template": {}}, "status": {"readyReplicas": ready}}
        desk.intake.workload("MODIFIED", WorkloadKind.STATEFUL_SET, seen)
        woken, desk.soon[:] = list(desk.soon), []
        return woken == [(MX, CALM)]

    assert woke(ready=2)
    assert not woke(ready=2)
    desk.intake.resource("MODIFIED", mst(version="2", generation=2))
    assert not woke(ready=1)
    desk.intake.sweep(lambda: [mst(version="3", generation=3) | {"spec": listing}])
    assert woke(ready=2)
    desk.intake.resource("DELETED", mst())
    assert not woke(ready=1)
    assert desk.take() == [MX, MX, MX]


def test_a_sweep_finds_what_the_watch_missed() -> None:
    """What is new or changed is looked at, and what is gone without an event is taken leave of."""
    desk = Desk()
    desk.intake.prime([mst(), mst("gone")])
    desk.take()
    desk.intake.sweep(lambda: [mst(), mst("new")])
    assert sorted(desk.take()) == sorted([Key("mail", "gone"), Key("mail", "new")])
    desk.intake.sweep(lambda: [mst(version="2", generation=2), mst("new")])
    assert sorted(desk.take()) == [MX]


def test_a_sweep_looks_at_what_is_as_it_was_one_after_the_other() -> None:
    """Hundreds of resources are no stampede every hour: each has a time of its own until the next sweep."""
    desk = Desk()
    listed = [mst(f"mx{number}") for number in range(200)]
    for number, each in enumerate(listed):
        each["metadata"]["uid"] = f"uid-{number}"
    desk.intake.prime(listed)
    desk.take()
    desk.intake.sweep(lambda: listed)
    assert desk.take() == []
    assert {key for key, _ in desk.soon} == {Key("mail", f"mx{number}") for number in range(200)}
    delays = sorted(delay for _, delay in desk.soon)
    assert delays[-1] <= SWEEP
    assert max(later - earlier for earlier, later in itertools.pairwise(delays)) < SWEEP / 20


def test_resource_made_while_a_sweep_lists_is_not_taken_leave_of() -> None:
    """The list is older than what the watch brings meanwhile, so that what it lacks is not gone."""
    desk = Desk()

    def list_all() -> list[Json]:
        desk.intake.resource("ADDED", mst("new"))
        return []

    desk.intake.sweep(list_all)
    assert desk.claims.holder("mail", "new-tls") == Key("mail", "new")
    desk.intake.sweep(list)
    assert desk.claims.holder("mail", "new-tls") is None


def test_resource_deleted_or_changed_while_a_sweep_lists_stays_so() -> None:
    """A list that was read before the watch told brings back neither a dead resource nor an old Secret's name."""
    desk = Desk()
    listed = [mst("dead"), mst()]
    for resource in listed:
        desk.intake.resource("ADDED", resource)

    def list_all() -> list[Json]:
        desk.intake.resource("DELETED", mst("dead", version="2"))
        desk.intake.resource("MODIFIED", mst(version="3", generation=2) | {"spec": {"secretName": "other-tls"}})
        return listed

    desk.intake.sweep(list_all)
    assert desk.claims.holder("mail", "dead-tls") is None
    assert (desk.claims.holder("mail", "mx-tls"), desk.claims.holder("mail", "other-tls")) == (None, MX)
    desk.take()
    desk.intake.resource("MODIFIED", mst(version="3", generation=2) | {"spec": {"secretName": "other-tls"}})
    assert desk.take() == []  # what the watch said last is what is remembered


def test_remembered_versions_are_bounded() -> None:
    """Neither many objects nor many versions of one grow without end; other kinds are not remembered at all."""
    seen = Seen()
    for number in range(100):
        seen.record(secret(version=str(number)))
    assert not seen.is_echo(secret(version="0"))
    assert seen.is_echo(secret(version="99"))
    for number in range(Seen.OBJECTS + 10):
        seen.record(mst(str(number)))
    assert len(seen._versions) == Seen.OBJECTS
    lease = {"kind": "Lease", "metadata": {"uid": "uid-lease", "resourceVersion": "1"}}
    seen.record(lease)
    assert "uid-lease" not in seen._versions


def test_namespaces_are_listed_one_by_one() -> None:
    """With rights in some namespaces only, nothing is asked of the whole cluster."""

    class Lists:
        def __init__(self) -> None:
            self.asked: list[str] = []

        def list(self, path: str, *, label_selector: str = "") -> list[Json]:
            assert not label_selector
            self.asked.append(path)
            return [mst()]

    cluster, desk = Lists(), Desk()
    assert len(Sweeper(cluster, ("a", "b"), desk.intake).list()) == 2  # type: ignore[arg-type]
    assert cluster.asked == [f"/apis/mailtls.dev/v1alpha1/namespaces/{place}/mailservertls" for place in "ab"]
    stopped = threading.Event()
    stopped.set()
    Sweeper(cluster, (), desk.intake).run(stopped)  # type: ignore[arg-type]
    assert len(cluster.asked) == 2


def test_each_sweep_renews_what_the_process_has_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever deletes the HTTP-01 endpoint harms it for an hour at most; a failure ends no sweeper."""
    monkeypatch.setattr(intake, "SWEEP", 0.001)
    stopping, renewed = threading.Event(), list[int]()

    def renew() -> None:
        renewed.append(1)
        if len(renewed) == 1:
            raise Unreachable("away")
        stopping.set()

    Sweeper(FakeCluster(), (), Desk().intake).run(stopping, renew)
    assert len(renewed) == 2


def test_open_orders_of_resources_that_are_gone_are_taken_up() -> None:
    """Their journals would hold the namespace for ever; a resource that lives closes its own."""
    desk = Desk()
    desk.intake.prime([mst()])
    desk.take()
    desk.intake.left_behind([journal("mail", "mx"), journal("mail", "gone"), journal("other", "gone")])
    assert sorted(map(str, desk.take())) == ["mail/gone", "other/gone"]


def journal(namespace: str, owner: str) -> Json:
    """A staged Secret with an open order."""
    reference = {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS", "name": owner, "uid": "u"}
    labels = {"app.kubernetes.io/managed-by": "mailtls", "mailtls.dev/owner": owner}
    meta = {"name": f"{owner}-next", "namespace": namespace, "labels": labels, "ownerReferences": [reference]}
    return {"metadata": meta}
