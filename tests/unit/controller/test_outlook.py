"""Reconciling and Stalled: whether time or a person makes a resource Ready."""

from datetime import timedelta

import pytest

from builders.contexts import a_context, wanting
from builders.outlooks import Seen, described
from builders.stories import NOW, attempts, desired
from mailtls.api.status import Condition, ConditionType, Status, Truth
from mailtls.api.status_json import read
from mailtls.controller.conditions import conditions
from mailtls.issuance.acme.problem_document import _KNOWN, Problem, Stage, judge
from mailtls.kube.snapshot import ServingSecret
from mailtls.reasons.reason import Reason
from mailtls.reasons.recovery import _BY_RECOVERY, RECOVERIES, Recovery

SEEN = {each.name: each for each in described()}
MISSING = ServingSecret(exists=False)


def test_every_reason_has_one_recovery() -> None:
    """None is forgotten, and none is in two groups."""
    assert set(RECOVERIES) == set(Reason)
    assert sum(map(len, _BY_RECOVERY.values())) == len(Reason)


@pytest.mark.parametrize("seen", SEEN.values(), ids=list(SEEN))
def test_outlook_is_there_while_ready_is_not_true_and_says_what_ready_says(seen: Seen) -> None:
    """At most one of the two, with the status True: kstatus takes what is absent for False."""
    said = read(seen.resource["status"]).conditions
    outlook = [each for each in said if each.type in {ConditionType.RECONCILING, ConditionType.STALLED}]
    assert [str(each.type) for each in outlook] == ([seen.outlook] if seen.outlook else [])
    ready = next((each for each in said if each.type is ConditionType.READY), None)
    for each in outlook:
        assert ready is not None
        assert (each.status, ready.status) == (Truth.TRUE, Truth.FALSE)
        assert (each.reason, each.message) == (ready.reason, ready.message)
        assert each.observed_generation == ready.observed_generation == seen.resource["metadata"]["generation"]


@pytest.mark.parametrize("code", [*_KNOWN, "malformed", "unauthorized"])
@pytest.mark.parametrize("stage", Stage)
def test_what_the_ca_wants_a_person_for_is_stalled(code: str, stage: Stage) -> None:
    """An order that is not repeated by itself is never shown as one that goes on."""
    verdict = judge(Problem(f"urn:ietf:params:acme:error:{code}", "No."), stage)
    assert not verdict.needs_person or RECOVERIES[verdict.finding.reason] is Recovery.MANUAL


def test_outlook_has_the_time_since_which_it_holds() -> None:
    """It goes on through other reasons, and begins anew where the other one was there."""
    earlier = NOW - timedelta(hours=1)
    before = Condition(ConditionType.RECONCILING, Truth.TRUE, Reason.ISSUING, "It is being issued.", earlier, 1)
    for failure, kind, since in (
        (attempts(), ConditionType.RECONCILING, earlier),
        (attempts(reason=Reason.CAA_FORBIDS), ConditionType.STALLED, NOW),
    ):
        status = Status(conditions=(before,), attempts=failure)
        have = wanting(desired(), a_context(secret=MISSING, status=status, schedule=None))
        assert next(each for each in conditions(have, NOW) if each.type is kind).transitioned_at == since
