"""Refusals of the API server: each in words of its own, also where the status cannot be written."""

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import structlog

from builders.whole_reconcile import MX, PATH, WholeReconcile
from mailtls.controller import queue
from mailtls.controller.events import OF_A_REASON, SAME, WITHIN, Events
from mailtls.kube.interface import ApiError, Conflict, Executed, Unreachable, finding_of_refusal
from mailtls.reasons.reason import Reason

if TYPE_CHECKING:
    from mailtls.api.reading.document import Json

RBAC = ApiError(403, "Forbidden", 'secrets "mx-tls" is forbidden: User "mailtls" cannot patch resource "secrets"')
QUOTA = ApiError(403, "Forbidden", 'secrets "mx-tls-next" is forbidden: exceeded quota: small, requested: secrets=1')
ENDING = ApiError(
    403,
    "Forbidden",
    'secrets "mx-tls" is forbidden: unable to create new content in namespace mail because it is being terminated',
)
WEBHOOK = ApiError(400, "BadRequest", 'admission webhook "labels.example.test" denied the request: no team label')
FORBIDDING_WEBHOOK = ApiError(403, "Forbidden", 'admission webhook "labels.example.test" denied the request: no')
POLICY = ApiError(422, "Invalid", "ValidatingAdmissionPolicy 'team' with binding 'team' denied request: no team label")
BROKEN_WEBHOOK = 'The API server answered 500 InternalError: failed calling webhook "labels.example.test": refused'


@pytest.mark.parametrize(
    ("refusal", "reason", "named"),
    [
        (RBAC, Reason.FORBIDDEN, "cannot patch"),
        (QUOTA, Reason.QUOTA_EXCEEDED, "small"),
        (ENDING, Reason.NAMESPACE_TERMINATING, "namespace mail"),
        (WEBHOOK, Reason.ADMISSION_DENIED, "labels.example.test"),
        (FORBIDDING_WEBHOOK, Reason.ADMISSION_DENIED, "labels.example.test"),
        (POLICY, Reason.ADMISSION_DENIED, "no team label"),
        (ApiError(418, "Teapot", "short and stout"), Reason.INTERNAL_ERROR, "418 Teapot: short and stout"),
    ],
)
def test_refusal_has_a_reason_of_its_own(refusal: ApiError, reason: Reason, named: str) -> None:
    """Who reads it knows whether to grant, to raise, to exempt or to wait."""
    found = finding_of_refusal(refusal)
    assert found.reason is reason
    assert named in found.message


def test_report_never_reaches_a_namesake_that_was_made_meanwhile() -> None:
    """What was learned of a resource that is gone says nothing about the one that has its name by now."""
    passes = WholeReconcile(pods=1)

    def replace_resource(_pod: str) -> Executed:
        passes.cluster.objects[PATH]["metadata"] |= {"uid": "uid-of-the-next"}
        passes.cluster.objects[PATH].pop("status", None)
        return Executed(0, "", "")

    passes.cluster.on_reload = replace_resource
    with pytest.raises(Conflict):
        passes.run()
    assert "status" not in passes.cluster.objects[PATH]


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [(WEBHOOK, "AdmissionDenied"), (FORBIDDING_WEBHOOK, "AdmissionDenied"), (ENDING, "NamespaceTerminating")],
)
def test_pod_that_may_not_be_annotated_says_why(refusal: ApiError, reason: str) -> None:
    """A webhook's 403 does not ask for rights that the operator has."""
    passes = WholeReconcile()
    passes.cluster.refused = {"/pods/": refusal}
    passes.run()
    assert passes.condition("RolledOut")["reason"] == reason


def test_webhook_that_does_not_answer_is_named() -> None:
    """The API server tells of it by a 500, as if it were broken itself."""
    passes = WholeReconcile()
    passes.cluster.refused = {"/pods/": Unreachable(BROKEN_WEBHOOK)}
    with pytest.raises(Unreachable):
        passes.run()
    assert passes.condition("Ready")["reason"] == "AdmissionWebhookFailed"
    assert passes.condition("Reconciling")["status"] == "True"  # a webhook that restarts needs nobody


@pytest.mark.parametrize("hidden", ["status", "resource"])
def test_what_rbac_hides_is_told_by_an_event_and_a_metric(hidden: str) -> None:
    """Where there is no status to write, the Event and the metric are all there is; and they are no flood."""
    passes = WholeReconcile()
    if hidden == "status":
        passes.cluster.refused = {"/mx/status": RBAC}
    else:
        passes.cluster.hidden = {PATH: RBAC}
    for _ in range(10):
        with pytest.raises(ApiError):
            passes.run()
    told = [each for each in passes.events() if each["reason"] == "Forbidden"]
    assert len(told) == SAME
    assert "cannot patch" in told[0]["message"]
    assert told[0]["involvedObject"]["name"] == MX.name
    assert 'reason="Forbidden"' in passes.metrics.text().decode()


def test_refusal_is_logged_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one line; a defect of ours keeps its traceback."""
    captured = structlog.testing.LogCapture()  # whatever logging other tests have set up
    monkeypatch.setattr(queue, "log", structlog.wrap_logger(None, processors=[captured]))
    queue._say(QUOTA, 2, 1.0)
    queue._say(KeyError("oops"), 2, 1.0)
    assert ["exc_info" in each for each in captured.entries] == [False, True]


def test_flapping_makes_a_handful_of_events_in_an_hour_and_counts_the_others() -> None:
    """The same again is counted into the next one; messages that differ a little do not get round the limit."""
    passes = WholeReconcile(pods=0)
    events = Events(passes.cluster, passes.clock)
    resource: Json = json.loads(json.dumps(passes.cluster.objects[PATH]))
    for number in range(50):
        events.post(resource, "Normal", "Ready", "All is well.")
        events.post(resource, "Warning", "PortRefused", f"Port 25 refused try {number}.")
    assert len(passes.events()) == SAME + OF_A_REASON
    passes.clock.advance(WITHIN + timedelta(seconds=1))
    events.post(resource, "Normal", "Ready", "All is well.")
    assert passes.events()[-1]["count"] == 50 - SAME + 1
