"""A stop is a stop: between any two effects it is looked at whether the operator leads and what the user decided."""

from datetime import timedelta
from functools import partial

import pytest
import requests

from builders.whole_reconcile import MX, PATH, WholeReconcile
from mailtls.api.spec import PrivateKeyPolicy
from mailtls.controller.election import Leadership, LeadershipLost
from mailtls.controller.reconciler import RECONCILE_LASTS
from mailtls.issuance.acme.network import Network, RequestKind
from mailtls.issuance.acme.session import account_key
from mailtls.issuance.certificates import new_key
from mailtls.kube.interface import Executed, Unreachable
from mailtls.net.effects import before_effect, guarded

NOBODY = "https://127.0.0.1:1"
DONE = Executed(0, "", "")


def test_suspending_in_mid_rollout_leaves_the_next_pod_alone() -> None:
    """Who pulls the brake after the first pod finds the others as they were."""
    passes = WholeReconcile()

    def suspend(_pod: str) -> Executed:
        passes.change(suspend=True)
        return DONE

    passes.cluster.on_reload = suspend
    assert passes.run() == 0.0
    assert passes.cluster.reloaded == ["postfix-0"]
    passes.run()
    assert passes.cluster.reloaded == ["postfix-0"]
    assert passes.condition("Ready")["reason"] == "Suspended"


@pytest.mark.parametrize("decision", ["deleted", "replaced", "asked", "unreadable"])
def test_whatever_a_user_decides_ends_the_pass(decision: str) -> None:
    """Deletion, another resource of the same name and a request by annotation stop it as a new spec does."""
    passes = WholeReconcile()

    def decide(_pod: str) -> Executed:
        meta = passes.cluster.objects[PATH]["metadata"]
        if decision == "deleted":
            meta["deletionTimestamp"] = "2026-01-02T00:00:00Z"
        elif decision == "replaced":
            meta["uid"] = "uid-2"
        elif decision == "asked":
            meta["annotations"] = {"mailtls.dev/rollback": "1"}
        else:
            passes.cluster.is_down = True
        passes.observer.note_event(MX)
        return DONE

    passes.cluster.on_reload = decide
    try:
        passes.run()
    except Unreachable:
        assert decision == "unreadable"
    assert passes.cluster.reloaded == ["postfix-0"]


def test_events_that_decide_nothing_do_not_end_the_pass() -> None:
    """A rollout goes on through the events that its own pods and other people's annotations cause."""
    passes = WholeReconcile()

    def note(pod: str) -> Executed:
        passes.cluster.objects[PATH]["metadata"]["annotations"] = {"example.test/seen": pod}
        passes.observer.note_event(MX)
        return DONE

    passes.cluster.on_reload = note
    passes.run()
    assert passes.cluster.reloaded == ["postfix-0", "postfix-1", "postfix-2"]
    assert passes.condition("Ready")["status"] == "True"


def test_suspending_before_the_reload_command_keeps_it_from_being_run() -> None:
    """Within a step too: the pod was annotated and has its file, and is not told."""
    passes = WholeReconcile()

    def suspend(_pod: str) -> Executed:
        passes.change(suspend=True)
        return Executed(0, passes.cluster.chain_pem, "")

    passes.cluster.on_cat = suspend
    assert passes.run() == 0.0
    assert passes.cluster.reloaded == []


def test_leader_that_was_stopped_for_a_minute_tells_and_writes_nothing_more() -> None:
    """Its own monotonic clock says that the lease is over, in the middle of a step as well as in its report."""
    passes, time = WholeReconcile(), [0.0]
    leadership = Leadership(monotonic=lambda: time[0])
    leadership.extend(10.0)

    def be_stopped(_pod: str) -> Executed:
        time[0] += 60.0
        return Executed(0, passes.cluster.chain_pem, "")

    passes.cluster.on_cat = be_stopped
    with guarded(leadership.require), pytest.raises(LeadershipLost):
        passes.run()
    writes = list(passes.cluster.writes)
    with guarded(leadership.require), pytest.raises(LeadershipLost):
        passes.run()
    assert passes.cluster.reloaded == []
    assert passes.cluster.writes == writes


def test_pass_that_lasts_ends_after_its_pod_and_is_queued_again() -> None:
    """A rollout over many slow pods does not keep a worker for itself, and says how far it came."""
    passes = WholeReconcile()

    def dawdle(_pod: str) -> Executed:
        passes.clock.advance(RECONCILE_LASTS + timedelta(seconds=1))
        return DONE

    passes.cluster.on_reload = dawdle
    for told in (1, 2, 3):
        assert passes.run() == 0.0
        assert len(passes.cluster.reloaded) == told
        assert passes.cluster.objects[PATH]["status"]["served"] == f"{told}/3"
    passes.run()
    assert passes.condition("Ready")["status"] == "True"


def test_leader_that_was_stopped_asks_nothing_of_the_ca() -> None:
    """What a CA counts is not sent, also where the stop fell between two requests of one step."""
    sent: list[str] = []
    key, alg = account_key(new_key(PrivateKeyPolicy()).pem)
    network = Network(f"{NOBODY}/directory", key, alg, lambda kind, _outcome: sent.append(kind))
    ask = partial(network.send, f"{NOBODY}/order", None, account_url=f"{NOBODY}/1", new_nonce_url=f"{NOBODY}/nonce")
    network._keep(b"nonce")
    with guarded(Leadership().require), pytest.raises(LeadershipLost):
        ask(RequestKind.NEW_ORDER)
    assert sent == []
    network._keep(b"nonce")
    with pytest.raises(requests.ConnectionError):
        ask(RequestKind.NEW_ORDER)
    assert sent == ["new-order"]


def test_guards_stand_only_as_long_as_their_pass() -> None:
    """One pass's guard says nothing about the next one's effects."""
    leadership = Leadership()
    with pytest.raises(LeadershipLost), guarded(leadership.require):
        before_effect()
    before_effect()
