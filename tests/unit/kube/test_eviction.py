"""Eviction: this very pod and no namesake, and what keeps it is named."""

import json

import pytest

from builders.rolling import pod
from fakes.cluster import FakeCluster
from mailtls.kube.connection import Answer, Request, passes
from mailtls.kube.interface import ApiError, Conflict, Unreachable
from mailtls.kube.replacement import evict_pod
from mailtls.reasons.reason import Reason

POD = pod("mx-0")
SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."


def answer(status: int, message: str, cause: str | None = None) -> Exception:
    """What the API server's answer is read as."""
    causes = [{"reason": "DisruptionBudget", "message": cause}] if cause else []
    body = {"kind": "Status", "reason": "TooManyRequests", "message": message, "details": {"causes": causes}}
    failure = Answer(status, json.dumps(body).encode(), None).failure()
    assert failure is not None
    return failure


def test_eviction_names_the_pod_by_its_uid() -> None:
    """A pod that has the name by now is another one."""
    cluster = FakeCluster()
    assert evict_pod(cluster, "mail", POD) is None
    (path,) = cluster.objects
    assert path == "/api/v1/namespaces/mail/pods/mx-0/eviction/mx-0"
    body = cluster.objects[path]
    assert (body["apiVersion"], body["kind"]) == ("policy/v1", "Eviction")
    assert body["deleteOptions"] == {"preconditions": {"uid": POD.uid}}


@pytest.mark.parametrize("gone", [Conflict(409, "Conflict", "uid"), ApiError(404, "NotFound", "mx-0")])
def test_pod_that_is_gone_or_another_needs_no_eviction(gone: Exception) -> None:
    """What is there now is seen by the next look."""
    assert evict_pod(FakeCluster(refuse={"create": gone}), "mail", POD) is None


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (
            answer(429, "Cannot evict pod.", "The disruption budget mail-pdb needs 2 healthy pods and has 2 currently"),
            "Pod mx-0 cannot be evicted: The disruption budget mail-pdb needs 2 healthy pods and has 2 currently.",
        ),
        (answer(500, SEVERAL), "More than one PodDisruptionBudget selects the pod"),
        (ApiError(403, "Forbidden", "pdb disruptions allowed is negative"), "pdb disruptions allowed is negative."),
    ],
)
def test_budget_that_does_not_allow_it_is_named(refusal: Exception, words: str) -> None:
    """By its name, or by what is wrong with it."""
    found = evict_pod(FakeCluster(refuse={"create": refusal}), "mail", POD)
    assert found is not None
    assert found.reason is Reason.EVICTION_BLOCKED
    assert words in found.message


def test_missing_right_is_named_with_what_a_person_can_do() -> None:
    """The verb, and the pod that may be deleted by hand."""
    refusal = ApiError(403, "Forbidden", 'pods "mx-0" is forbidden: User "x" cannot create resource "pods/eviction"')
    found = evict_pod(FakeCluster(refuse={"create": refusal}), "mail", POD)
    assert found is not None
    assert found.reason is Reason.FORBIDDEN
    assert "may not create pods/eviction in namespace mail" in found.message
    assert "delete pod mx-0 yourself" in found.message


def test_budget_is_not_asked_again_within_a_call() -> None:
    """It may say no for hours, and a worker is not what waits for it; a server that is busy is tried again."""
    request = Request("POST", "/eviction")
    busy = Answer(429, b"{}", None)
    assert isinstance(busy.failure(), Unreachable)
    assert passes(request, busy, busy.failure() or ValueError())
    assert not passes(request, Answer(429, b"", None), answer(429, "No.", "The disruption budget x."))
