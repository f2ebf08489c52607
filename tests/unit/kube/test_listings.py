"""Which resources hear of a workload's pods, and which changes of a workload are none of theirs."""

from typing import Any

import pytest

from mailtls.api.reading.document import Json
from mailtls.api.spec import Key
from mailtls.api.workload import WorkloadKind
from mailtls.kube.claims import Listings

MX, RELAY = Key("mail", "mx"), Key("mail", "relay")
STATEFUL_SET, DEPLOYMENT = WorkloadKind.STATEFUL_SET, WorkloadKind.DEPLOYMENT


def resource(name: str = "mx", *workloads: str, namespace: str = "mail") -> Json:
    """Make a resource that lists StatefulSets of these names."""
    listed = [{"kind": "StatefulSet", "name": each} for each in workloads]
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"workloads": listed}}


def workload(
    name: str = "postfix",
    *,
    uid: str = "u",
    generation: int = 1,
    told: str = "",
    namespace: str = "mail",
    **status: Any,
) -> Json:
    """Make a workload as a watch shows it."""
    return {
        "metadata": {"namespace": namespace, "name": name, "uid": uid, "generation": generation},
        "spec": {"template": {"metadata": {"annotations": {"mailtls.dev/restarted-for.mx-tls": told}} if told else {}}},
        "status": status,
    }


@pytest.fixture
def listings() -> Listings:
    """Give an index in which one resource lists one workload that has three ready pods."""
    listings = Listings()
    listings.note(resource("mx", "postfix"))
    assert listings.news(None, STATEFUL_SET, workload(readyReplicas=3)) == frozenset()
    return listings


def test_pods_that_come_and_go_are_news(listings: Listings) -> None:
    """The status tells of one pod less, and of the same pod's return."""
    assert listings.news("MODIFIED", STATEFUL_SET, workload(readyReplicas=2)) == {MX}
    assert listings.news("MODIFIED", STATEFUL_SET, workload(readyReplicas=3)) == {MX}


@pytest.mark.parametrize(
    "changed",
    [
        workload(readyReplicas=3, availableReplicas=2),
        workload(readyReplicas=3, updatedReplicas=1),
        workload(readyReplicas=3, observedGeneration=2),
        workload(readyReplicas=3, generation=2),
        workload(readyReplicas=3, told="00" * 32),
        workload(readyReplicas=3, uid="its successor"),
    ],
)
def test_what_bears_on_the_pods_is_news(listings: Listings, changed: Json) -> None:
    """Counters, the spec and the template's annotations each count."""
    assert listings.news("MODIFIED", STATEFUL_SET, changed) == {MX}
    assert listings.news("MODIFIED", STATEFUL_SET, changed) == frozenset()


def test_what_says_nothing_of_the_pods_is_no_news(listings: Listings) -> None:
    """A label, a condition's date, or an event that repeats what is known."""
    same = workload(readyReplicas=3, conditions=[{"type": "Available", "lastUpdateTime": "2026-05-01T12:00:00Z"}])
    same["metadata"] |= {"labels": {"team": "mail"}, "resourceVersion": "17"}
    assert listings.news("MODIFIED", STATEFUL_SET, same) == frozenset()


def test_deleted_and_new_workloads_are_news(listings: Listings) -> None:
    """Who waits for a workload sees it come, and sees it go."""
    assert listings.news("DELETED", STATEFUL_SET, workload(readyReplicas=3)) == {MX}
    assert listings.news("ADDED", STATEFUL_SET, workload(readyReplicas=3)) == {MX}


def test_listing_anew_after_a_gap_is_news(listings: Listings) -> None:
    """What happened in the gap left no trace in the counters: a pod may have restarted."""
    assert listings.news(None, STATEFUL_SET, workload(readyReplicas=3)) == {MX}


def test_workload_that_nobody_lists_is_nobodys(listings: Listings) -> None:
    """Another name, another kind, another namespace; and nothing is remembered of them."""
    others = [
        (STATEFUL_SET, workload("dovecot")),
        (DEPLOYMENT, workload()),
        (STATEFUL_SET, workload(namespace="elsewhere")),
    ]
    for kind, other in others:
        assert listings.news("ADDED", kind, other) == frozenset()
        assert listings.news("MODIFIED", kind, other | {"status": {"readyReplicas": 1}}) == frozenset()
    assert len(listings._stood) == 1


def test_all_that_list_a_workload_hear_of_it(listings: Listings) -> None:
    """Two certificates of one mail server, until one of the resources lists another workload, or goes."""
    listings.note(resource("relay", "postfix", "dovecot"))
    assert listings.news("MODIFIED", STATEFUL_SET, workload(readyReplicas=2)) == {MX, RELAY}
    listings.note(resource("mx", "dovecot"))
    assert listings.news("MODIFIED", STATEFUL_SET, workload(readyReplicas=1)) == {RELAY}
    listings.forget(RELAY)
    assert listings.news("MODIFIED", STATEFUL_SET, workload(readyReplicas=2)) == frozenset()
    listings.forget(MX)
    assert (listings._listed_by, listings._places, listings._stood) == ({}, {}, {})


def test_list_that_cannot_be_used_lists_nothing(listings: Listings) -> None:
    """A resource whose spec is refused has no pods to look at."""
    broken = resource("mx", "postfix")
    broken["spec"]["workloads"].append({"kind": "Job"})
    listings.note(broken)
    assert listings.news("MODIFIED", STATEFUL_SET, workload(readyReplicas=2)) == frozenset()
