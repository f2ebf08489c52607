"""The election: one leads, the next follows at once after a release and after the lease's time otherwise."""

import time
from typing import TYPE_CHECKING

import pytest

from builders.replicas import FAST, PLACE, Replica, holder, seconds_until
from fakes.cluster import FakeCluster
from mailtls.controller.election import Leadership, LeadershipLost

if TYPE_CHECKING:
    from mailtls.api.reading.document import Json


def test_two_candidates_elect_exactly_one() -> None:
    """Of ten that begin together one leads, and stays the only one."""
    cluster = FakeCluster()
    replicas = [Replica(cluster, f"replica-{number}") for number in range(10)]
    seconds_until(lambda: any(each.leads for each in replicas))
    for _ in range(50):
        assert sum(each.leads for each in replicas) == 1
        time.sleep(0.02)
    for each in replicas:
        each.elector.release()


def test_a_release_hands_over_at_once() -> None:
    """Nobody waits for a lease that was given back."""
    cluster = FakeCluster()
    first = Replica(cluster, "first")
    seconds_until(lambda: first.leads)
    second = Replica(cluster, "second")
    time.sleep(0.2)
    assert not second.leads
    first.elector.release()
    assert not first.leads
    assert seconds_until(lambda: second.leads) < 0.3
    assert holder(cluster) == "second"
    assert cluster.objects[PLACE]["spec"]["leaseTransitions"] == 1
    second.elector.release()


def test_a_dead_leader_is_followed_after_the_lease_and_not_before() -> None:
    """A silent leader keeps the Lease for its time, counted from when others saw the last change."""
    cluster = FakeCluster()
    first = Replica(cluster, "first")
    seconds_until(lambda: first.leads)
    second = Replica(cluster, "second")
    time.sleep(0.2)
    first.die()
    took = seconds_until(lambda: second.leads)
    assert took >= 0.8  # how much later than the lease of a second depends on how busy the machine is
    second.elector.release()


def test_a_leader_cut_off_stops_acting_before_another_may_begin() -> None:
    """Without the API server the leader stops by its own clock, well within the lease, and says so."""
    cluster = FakeCluster()
    first = Replica(cluster, "first")
    seconds_until(lambda: first.leads)
    cluster.is_down = True
    took = seconds_until(lambda: not first.leads)
    assert took <= FAST.deadline + 0.1
    with pytest.raises(LeadershipLost):
        first.elector.leadership.require()
    assert first.lost.wait(1)


def test_a_short_outage_loses_nothing() -> None:
    """Renewals that fail for less than the deadline change nothing."""
    cluster = FakeCluster()
    first = Replica(cluster, "first")
    seconds_until(lambda: first.leads)
    cluster.is_down = True
    time.sleep(0.3)
    cluster.is_down = False
    time.sleep(0.5)
    assert first.leads
    assert not first.lost.is_set()
    first.elector.release()


def test_who_stands_by_backs_off_only_while_nobody_answers() -> None:
    """Looks at a Lease that somebody holds are no failures; those that meet no API server are, until one succeeds."""
    cluster = FakeCluster()
    first = Replica(cluster, "first")
    seconds_until(lambda: first.leads)
    second = Replica(cluster, "second")
    time.sleep(0.2)
    assert second.retries == []
    cluster.is_down = True
    assert first.lost.wait(5)
    seconds_until(lambda: len(second.retries) > 1)
    assert first.retries == []  # who leads renews at an even pace
    cluster.is_down = False
    seconds_until(lambda: second.leads)
    assert set(second.retries) == {"election"}
    second.elector.release()


def test_a_stolen_lease_ends_leading_at_once() -> None:
    """A leader that sees another holder stops, and does not take the Lease back."""
    cluster = FakeCluster()
    first = Replica(cluster, "first")
    seconds_until(lambda: first.leads)
    cluster.merge(PLACE, {"metadata": {}, "spec": {"holderIdentity": "thief"}})
    assert first.lost.wait(1)
    assert not first.leads
    assert holder(cluster) == "thief"


def test_a_foreign_touch_that_keeps_the_holder_is_survived() -> None:
    """A conflict alone is no loss: a label may have been added."""
    cluster = FakeCluster()
    first = Replica(cluster, "first")
    seconds_until(lambda: first.leads)
    cluster.merge(PLACE, {"metadata": {"labels": {"seen": "yes"}}})
    time.sleep(0.8)
    assert first.leads
    assert not first.lost.is_set()
    assert cluster.objects[PLACE]["metadata"]["labels"] == {"seen": "yes"}
    first.elector.release()


def test_a_deleted_lease_ends_leading() -> None:
    """Who deletes the Lease asks for a new election."""
    cluster = FakeCluster()
    first = Replica(cluster, "first")
    seconds_until(lambda: first.leads)
    cluster.delete(PLACE)
    assert first.lost.wait(2)


def test_a_restarted_leader_leads_again_at_once() -> None:
    """A container restarted in the same pod need not wait for its own old lease."""
    cluster = FakeCluster()
    first = Replica(cluster, "pod-a")
    seconds_until(lambda: first.leads)
    first.die()
    again = Replica(cluster, "pod-a")
    assert seconds_until(lambda: again.leads) < 0.3
    again.elector.release()


def test_a_wrong_clock_elects_nobody_early() -> None:
    """Times written in the Lease by a machine whose clock is off do not matter."""
    cluster = FakeCluster()
    first = Replica(cluster, "first")
    seconds_until(lambda: first.leads)
    old: Json = {"renewTime": "1970-01-01T00:00:00.000000Z", "acquireTime": "1970-01-01T00:00:00.000000Z"}
    first.die()
    cluster.merge(PLACE, {"metadata": {}, "spec": old})
    second = Replica(cluster, "second")
    time.sleep(0.7)
    assert not second.leads
    seconds_until(lambda: second.leads)
    second.elector.release()


def test_nobody_leads_by_default() -> None:
    """A fresh process may do nothing to the world."""
    leadership = Leadership()
    assert not leadership.is_leading()
    with pytest.raises(LeadershipLost):
        leadership.require()
