"""`mailtls rollout`: what it prints, and which certificate an approval is for."""

from typing import Any

import pytest

from builders.resources import resource
from mailtls.api.resource import Request
from mailtls.api.resource_view import ResourceView, progress
from mailtls.cli.output.resources import is_done, rollout_story, to_approve
from mailtls.kube.resource_views import view

SHA256 = "ab12cd34" * 8
STORED = {"name": "mx-tls", "uid": "u", "fingerprintSHA256": SHA256}
HALF = {"workload": "StatefulSet/postfix", "pods": 3, "proven": 1, "inFlight": 0, "waiting": 2}


def waiting(reason: str = "WaitingForApproval", *, paused: bool = False, **status: Any) -> ResourceView:
    """A resource whose rollout waits; of three pods one is proven."""
    rollout = {"waitingFor": reason, "workloads": [HALF]}
    made = resource("RolledOut", reason, **({"rollout": rollout, "secret": STORED} | status))
    ready = made["status"]["conditions"][4]
    ready["status"] = "True"
    if paused:
        made["metadata"]["annotations"] = {"mailtls.dev/pause-rollout": "true"}
    return view(made)


def test_story_counts_pods_and_says_what_is_waited_for() -> None:
    """A person reads what to do in the condition's own words."""
    assert rollout_story(waiting()) == (
        "WORKLOAD              PODS   VERIFIED   IN FLIGHT   WAITING\n"
        "StatefulSet/postfix   3      1          0           2\n"
        "\n"
        "RolledOut is False (WaitingForApproval): About RolledOut.\n"
    )
    assert not is_done(waiting())


def test_story_says_when_the_rollout_goes_on_by_itself() -> None:
    """That is when the window opens, or when what is served expires too soon to wait on."""
    rollout = {"waitingFor": "WaitingForWindow", "waitingUntil": "2026-12-01T01:00:00Z", "workloads": [HALF]}
    assert rollout_story(waiting("WaitingForWindow", rollout=rollout)).endswith(
        "It goes on by itself at 2026-12-01 01:00 UTC.\n"
    )


def test_story_of_a_rollout_that_is_done_says_that_the_next_one_is_paused() -> None:
    """A pause that was forgotten holds back the next certificate."""
    done = resource(rollout={"workloads": [HALF | {"proven": 3, "waiting": 0}]})
    assert is_done(view(done))
    done["metadata"]["annotations"] = {"mailtls.dev/pause-rollout": "true"}
    assert rollout_story(view(done)).endswith("will wait until mailtls rollout resume.\n")
    assert "will wait" not in rollout_story(waiting("RolloutPaused", paused=True))


def test_story_without_a_status_says_so() -> None:
    """An operator that has not come to it yet, or none at all."""
    bare = resource()
    bare["status"] = {}
    assert rollout_story(view(bare)) == "The operator has not reported anything yet.\n"


def test_approval_is_of_the_certificate_that_waits() -> None:
    """Without a fingerprint it is the one that waits now, by its whole fingerprint."""
    assert to_approve(waiting(), None) == SHA256


@pytest.mark.parametrize("fingerprint", [SHA256, SHA256[:8], "AB:12:CD:34:AB"])
def test_approval_by_fingerprint_needs_no_wait(fingerprint: str) -> None:
    """Whoever has looked at a certificate may approve it before its canary has."""
    assert to_approve(waiting("WaitingForWindow"), fingerprint) == SHA256


@pytest.mark.parametrize("fingerprint", ["ab12cd3", "ffffffff", "", SHA256 + "a"])
def test_approval_of_another_certificate_is_refused(fingerprint: str) -> None:
    """What a person looked at may have been replaced since."""
    with pytest.raises(ValueError, match=SHA256):
        to_approve(waiting(), fingerprint)


def test_approval_of_what_does_not_wait_is_refused() -> None:
    """Nobody approves the next certificate by accident."""
    with pytest.raises(ValueError, match="waits for no approval"):
        to_approve(waiting("WaitingForWindow"), None)
    with pytest.raises(ValueError, match="has no certificate yet"):
        to_approve(waiting(secret=None), None)


def test_renewal_that_waits_on_purpose_is_done_and_says_so() -> None:
    """`renew --wait` does not wait for the night: the certificate is there, and what is served is good."""
    ended = progress(waiting("WaitingForWindow", lastHandledRenew="1"), Request.RENEW, "1")
    assert ended.came_true
    assert ended.sentence == "mail/mx is Ready (WaitingForWindow): About Ready."
