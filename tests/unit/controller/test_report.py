"""What the conditions say."""

from dataclasses import replace
from datetime import timedelta

import pytest

from builders.contexts import a_context, changed, wanting
from builders.endpoints import PODS, POSTFIX, proven
from builders.stories import NOW, attempts, certificate, desired, schedule, secret
from builders.whole_reconcile import PATH, WholeReconcile
from mailtls.api.spec import Key
from mailtls.api.state import Failure
from mailtls.api.status import Condition, ConditionType, ServedCount, Status, Stored, Truth
from mailtls.context import Context
from mailtls.controller.conditions import conditions, linked, refusal
from mailtls.controller.status_writer import report_of
from mailtls.kube.snapshot import ServingSecret
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.rollout.steps import RollProgress
from mailtls.verification.conditions import served, verified
from mailtls.verification.schedule import targets_to_probe

MISSING = ServingSecret(exists=False)


def said(have: Context, **changes: object) -> dict[ConditionType, Condition]:
    """The conditions by type."""
    return {each.type: each for each in conditions(wanting(desired(**changes), have), NOW)}


def test_every_condition_is_present_after_the_first_pass() -> None:
    """Tools that wait for a condition need not wait for it to appear."""
    first = said(a_context(secret=MISSING, status=Status(), schedule=None))
    assert set(first) == set(ConditionType) - {ConditionType.DOMAIN_HEALTHY, ConditionType.STALLED}
    assert first[ConditionType.READY].reason is Reason.ISSUING
    assert all(each.observed_generation == 1 for each in first.values())


def test_ready_that_is_false_links_to_its_reason_where_the_documentation_is_known() -> None:
    """The link is the last of the message, so that it can be opened; what is well, and other conditions, have none."""
    found = conditions(wanting(desired(), a_context(secret=MISSING, status=Status(), schedule=None)), NOW)
    plain, site = linked(found, None), linked(found, "https://docs.example.com/0.1/{page}/")
    assert plain == found
    changed = [(now.type, now.message.removeprefix(old.message)) for old, now in zip(found, site, strict=True)]
    assert dict(changed)[ConditionType.READY] == " More: https://docs.example.com/0.1/reference/reasons/Issuing/"
    assert [kind for kind, more in changed if more] == [ConditionType.READY]
    well = conditions(wanting(desired(), a_context()), NOW)
    assert linked(well, "https://docs.example.com/0.1/{page}/") == well


def test_status_says_where_the_documentation_is_while_the_installation_serves_it() -> None:
    """Commands and pages link to it, whatever the conditions say."""
    mail = WholeReconcile(pods=1)
    for docs_url in ("https://docs.example.com/{page}/", None):
        mail.settings = replace(mail.settings, docs_url=docs_url)
        mail.restart()
        mail.run()
        assert mail.condition("Ready")["status"] == "True"
        assert mail.cluster.objects[PATH]["status"].get("docsURL") == docs_url


def test_without_workloads_a_stored_certificate_is_ready() -> None:
    """There is nothing to prove where nothing is named."""
    now = said(a_context())
    assert now[ConditionType.READY].status is Truth.TRUE
    assert now[ConditionType.VERIFIED].reason is Reason.NO_WORKLOADS


def test_request_for_a_probe_is_handled_where_there_is_nothing_to_probe() -> None:
    """Who waits for it need not wait for ever; where a pod is named, or all is suspended, it is not handled yet."""

    def handled(**changes: object) -> str | None:
        context = wanting(desired(probe_requested="now", **changes), a_context())
        return report_of(context, (), NOW).handled["probe"]

    assert handled() == "now"
    assert handled(workloads=(POSTFIX,)) is None
    assert handled(suspend=True) is None


def test_every_endpoint_serves_it_is_verified() -> None:
    """Proof of every port of every pod makes it ready."""
    now = said(proven(), workloads=(POSTFIX,))
    assert {each.status for each in now.values()} == {Truth.TRUE}
    assert served(wanting(desired(workloads=(POSTFIX,)), proven())) == ServedCount(4, 4)


def test_trial_certificate_is_verified_and_told_beside_it() -> None:
    """Who reads only the conditions must learn that mail clients do not trust what is served."""
    have = proven()
    trial = Finding(Reason.STAGING_CERTIFICATE, "Mail clients do not trust it.", Severity.WARN)
    warned = have.with_verification(
        endpoints=tuple(replace(each, findings=(trial,)) for each in have.verification.endpoints)
    )
    verified = said(warned, workloads=(POSTFIX,))[ConditionType.VERIFIED]
    assert (verified.status, verified.reason) == (Truth.TRUE, Reason.VERIFIED)
    assert verified.message.count(trial.message) == 1


def test_failing_endpoint_is_named_with_its_reason() -> None:
    """The message says where, what, and how many more."""
    old = Finding(Reason.SERVING_OLD_CERTIFICATE, "The old certificate is served.")
    have = proven(old, old)
    now = said(have, workloads=(POSTFIX,))
    verified = now[ConditionType.VERIFIED]
    assert (verified.status, verified.reason) == (Truth.FALSE, Reason.SERVING_OLD_CERTIFICATE)
    assert verified.message == "postfix-0:25: The old certificate is served. (2 of 4 endpoints fail)"
    assert now[ConditionType.READY].status is Truth.FALSE
    assert served(wanting(desired(workloads=(POSTFIX,)), have)) == ServedCount(2, 4)


def one_of_two_down(since: timedelta, *, knew_it: bool, key_fault: Finding | None = None) -> Context:
    """A rollout had ended; then one of two pods was not ready for so long, which has `knew_it` or never proved it."""
    have = proven()
    (state,) = have.snapshot.workloads or ()
    theirs, ours = (tuple(each for each in have.verification.endpoints if each.target.pod == pod.name) for pod in PODS)
    pods = (state.pods[0], replace(state.pods[1], ready=False, key_fault=key_fault))
    was = tuple(
        Condition(kind, Truth.TRUE, reason, "x", NOW, 1)
        for kind, reason in ((ConditionType.READY, Reason.READY), (ConditionType.ROLLED_OUT, Reason.ROLLED_OUT))
    )
    return changed(
        have,
        workloads=(replace(state, pods=pods),),
        endpoints=theirs,
        set_aside=ours if knew_it else (),
        status=replace(have.snapshot.status, conditions=was),
        progress=RollProgress(NOW - since, timedelta(minutes=10)),
    )


UNREADABLE = Finding(Reason.KEY_UNREADABLE, "Set fsGroup.")


@pytest.mark.parametrize(
    ("since", "knew_it", "key_fault", "is_ready"),
    [
        (timedelta(minutes=1), False, None, True),
        (timedelta(minutes=11), False, None, False),
        (timedelta(minutes=11), True, None, True),
        (timedelta(minutes=1), False, UNREADABLE, False),
        (timedelta(minutes=11), True, UNREADABLE, True),
    ],
)
def test_pod_that_never_proved_the_certificate_is_no_end_of_a_rollout(
    since: timedelta, knew_it: bool, key_fault: Finding | None, is_ready: bool
) -> None:
    """It has the rollout's time to become ready; one that proved it lacks something else, and is named all the same."""
    have = one_of_two_down(since, knew_it=knew_it, key_fault=key_fault)
    now = said(have, workloads=(POSTFIX,))
    rolled_out, ready = now[ConditionType.ROLLED_OUT], now[ConditionType.READY]
    assert (ready.status is Truth.TRUE, rolled_out.status is Truth.TRUE) == (is_ready, is_ready)
    assert "Pod postfix-1 is not ready" in rolled_out.message
    assert [each.reason for each in rolled_out.warnings] == [Reason.POD_NOT_READY] * is_ready
    assert is_ready or ready.reason is Reason.POD_NOT_READY
    assert now[ConditionType.VERIFIED].message == (
        "2 of 4 endpoints serve the stored certificate, and 2 at pods that are not ready were not probed."
    )
    assert served(wanting(desired(workloads=(POSTFIX,)), have)) == ServedCount(2, 4)


@pytest.mark.parametrize(
    ("started", "is_verified", "is_ready"),
    [(-timedelta(minutes=5), True, True), (-timedelta(minutes=5), False, False), (timedelta(minutes=1), True, False)],
)
def test_operator_that_restarts_while_a_verified_pod_is_down_leaves_the_resource_ready(
    started: timedelta, is_verified: bool, is_ready: bool
) -> None:
    """The status says that all pods had the certificate; one that began to run since then proved nothing."""
    have = one_of_two_down(timedelta(minutes=11), knew_it=False)
    (state,) = have.snapshot.workloads or ()
    down = replace(state.pods[1], started_at=NOW + started, is_running=True)
    stored = Stored("mx-tls", "u", "aa" * 32, is_verified=is_verified)
    have = changed(
        have,
        workloads=(replace(state, pods=(state.pods[0], down)),),
        status=replace(have.snapshot.status, stored=stored),
    )
    assert (said(have, workloads=(POSTFIX,))[ConditionType.READY].status is Truth.TRUE) is is_ready


def test_pods_that_were_not_asked_yet_are_unknown() -> None:
    """No evidence is neither good nor bad."""
    have = proven().with_verification(endpoints=(), probed_at=None)
    assert said(have, workloads=(POSTFIX,))[ConditionType.VERIFIED].reason is Reason.PROBING


def test_renewal_that_fails_leaves_the_good_certificate_issued() -> None:
    """A usable certificate is issued, and the message says that its replacement fails."""
    have = a_context(schedule=schedule(renewal_at=NOW), status=Status(attempts=attempts()))
    issued = said(have)[ConditionType.ISSUED]
    assert issued.status is Truth.TRUE
    assert "RateLimited" in issued.message


@pytest.mark.parametrize(
    "have",
    [
        a_context(secret=secret(acme_server=None)),
        a_context(secret=secret(acme_server="https://staging.test/directory")),
        a_context(secret=secret(certificate=certificate(names=frozenset({"mx.example.test", "old.example.test"})))),
    ],
    ids=["placeholder", "another authority", "more names"],
)
def test_usable_certificate_that_is_not_the_one_wanted_is_not_issued(have: Context) -> None:
    """A placeholder serves, but whoever waits for Ready waits for the certificate of the spec."""
    now = said(have)
    assert now[ConditionType.ISSUED].reason is Reason.ISSUING
    assert now[ConditionType.READY].status is Truth.FALSE


def test_first_issuance_that_fails_says_why() -> None:
    """Without a usable certificate the failure is the reason."""
    refused = Failure(Finding(Reason.CAA_FORBIDS, "CAA forbids it."), None)
    now = said(a_context(secret=MISSING, issuance_failure=refused))
    assert now[ConditionType.ISSUED].reason is Reason.CAA_FORBIDS
    assert now[ConditionType.READY].reason is Reason.CAA_FORBIDS
    assert now[ConditionType.STORED].status is Truth.UNKNOWN


def test_proof_that_is_not_seen_yet_is_said() -> None:
    """Whoever waits learns what for, and how not to wait where only the CA can see the proof."""
    issued = said(a_context(secret=MISSING, presenting_since=NOW))[ConditionType.ISSUED]
    assert issued.reason is Reason.ISSUING
    assert "selfCheck: false" in issued.message


def test_claimed_secret_names_the_holder() -> None:
    """The younger of two learns whose the Secret is."""
    issued = said(a_context(holder=Key("mail", "elder")))[ConditionType.ISSUED]
    assert issued.reason is Reason.SECRET_CLAIMED
    assert "elder" in issued.message


def test_failed_rollout_says_why() -> None:
    """The reason of the rollout is the reason of the resource."""
    failure = Failure(Finding(Reason.RELOAD_FAILED, "exit code 1"), NOW)
    have = proven(Finding(Reason.SERVING_OLD_CERTIFICATE, ".")).with_rollout(failure=failure)
    assert said(have, workloads=(POSTFIX,))[ConditionType.ROLLED_OUT].reason is Reason.RELOAD_FAILED


def test_rollout_that_mended_itself_is_rolled_out() -> None:
    """Evidence beats the memory of a failure."""
    have = proven().with_rollout(failure=Failure(Finding(Reason.RELOAD_FAILED, "."), NOW))
    assert said(have, workloads=(POSTFIX,))[ConditionType.ROLLED_OUT].status is Truth.TRUE


def test_what_fails_at_the_next_certificate_is_said_while_all_is_well() -> None:
    """Every pod has this certificate; no pod will have the next one."""
    mount = Finding(Reason.SUB_PATH_MOUNT, "Mount the whole volume.")
    have = proven()
    states = tuple(replace(each, finding=mount) for each in have.snapshot.workloads or ())
    out = said(have.with_snapshot(workloads=states), workloads=(POSTFIX,))[ConditionType.ROLLED_OUT]
    assert (out.status, out.message) == (Truth.TRUE, "Every pod has the certificate. Mount the whole volume.")


def test_transition_time_moves_only_when_the_status_flips() -> None:
    """A new reason under the same status is no transition."""
    before = conditions(a_context(secret=MISSING), NOW)
    later = NOW + timedelta(hours=1)
    trouble = Failure(Finding(Reason.RATE_LIMITED, "."), None)
    have = a_context(secret=MISSING, status=Status(conditions=before), issuance_failure=trouble)
    still = {each.type: each for each in conditions(have, later)}
    assert still[ConditionType.ISSUED].reason is Reason.RATE_LIMITED
    assert still[ConditionType.ISSUED].transitioned_at == NOW
    good = {each.type: each for each in conditions(a_context(status=Status(conditions=before)), later)}
    assert good[ConditionType.ISSUED].transitioned_at == later


def test_refused_spec_has_every_condition_too() -> None:
    """An unusable spec is a report like any other."""
    finding = Finding(Reason.INVALID_SPEC, "spec.dnsNames: list at least one name.")
    now = {each.type: each for each in refusal(finding, Status(), 7, NOW)}
    assert set(now) == set(ConditionType) - {ConditionType.DOMAIN_HEALTHY, ConditionType.RECONCILING}
    assert now[ConditionType.READY].reason is Reason.INVALID_SPEC
    assert now[ConditionType.READY].observed_generation == 7


def test_chain_to_another_root_is_said_beside_the_certificate() -> None:
    """It is issued all the same, and the message names the roots that there are."""
    have = a_context(secret=secret(certificate=certificate(roots_offered=("Root A", "Root B"))))
    acme = replace(desired().acme, preferred_chain="Root C")
    issued = {each.type: each for each in conditions(wanting(desired(acme=acme), have), NOW)}[ConditionType.ISSUED]
    assert (issued.status, issued.reason) == (Truth.TRUE, Reason.ISSUED)
    assert "Root A, Root B" in issued.message


@pytest.mark.parametrize(
    "have", [a_context(), a_context(secret=MISSING), proven(), a_context(secret=secret(acme_server=None))]
)
def test_same_pass_twice_says_the_same(have: Context) -> None:
    """Messages hold no clock, so that an idle pass writes nothing."""
    first = conditions(wanting(desired(workloads=(POSTFIX,)), have), NOW)
    again = have.with_snapshot(status=replace(have.snapshot.status, conditions=first))
    assert conditions(wanting(desired(workloads=(POSTFIX,)), again), NOW + timedelta(seconds=30)) == first


def test_expired_certificate_whose_renewal_fails_says_both() -> None:
    """The expiry is the reason in Ready, and why the renewal fails stands beside it."""
    expired = secret(certificate=certificate(not_after=NOW - timedelta(days=1)))
    fault = Finding(Reason.CERTIFICATE_EXPIRED, "The served certificate expired.")
    have = proven(*[fault] * 4).with_snapshot(secret=expired, status=Status(attempts=attempts()))
    now = said(have, workloads=(POSTFIX,))
    ready = now[ConditionType.READY]
    assert (ready.status, ready.reason) == (Truth.FALSE, Reason.CERTIFICATE_EXPIRED)
    assert "expired at 2026-04-30" in ready.message
    assert "RateLimited" in ready.message
    assert now[ConditionType.VERIFIED].reason is Reason.CERTIFICATE_EXPIRED
    assert now[ConditionType.ROLLED_OUT].reason is Reason.CERTIFICATE_EXPIRED


def test_certificate_that_expired_since_the_last_sweep_is_not_called_verified() -> None:
    """What was proven before the expiry proves nothing after it; one sweep then settles it."""
    expiry = NOW + timedelta(minutes=1)
    have = proven().with_snapshot(secret=secret(certificate=certificate(not_after=expiry)))
    wants = desired(workloads=(POSTFIX,))
    before, after = expiry - timedelta(seconds=1), expiry + timedelta(seconds=1)
    assert verified(wanting(wants, have), before).reason is Reason.VERIFIED
    assert verified(wanting(wants, have), expiry).reason is Reason.PROBING
    assert not targets_to_probe(wanting(wants, have.with_verification(probed_at=expiry)), after)
