"""Going back by itself: when, to what, for how long, and what a crash leaves."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from builders.contexts import a_context, changed, next_step
from builders.refused import PODS, PREVIOUS, ROOTS, SECRET, Refused
from builders.rolling import NEW, OLD, SMTP, SMTPS, all_serve, pod, progress, seen, state, workload
from builders.stories import DAY, NOW, certificate, desired, secret
from builders.whole_reconcile import MX, PATH, killed_at
from mailtls.api.spec import OnFailure, Rollout
from mailtls.api.status import Status, Stored
from mailtls.api.workload import UpdateStrategy
from mailtls.context import Context
from mailtls.issuance.policy import issuance_is_due
from mailtls.kube.interface import Executed
from mailtls.kube.snapshot import Hold, ServingSecret
from mailtls.kube.snapshot import Refused as RefusedCertificate
from mailtls.probe.target import Depth, Endpoint
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.going_back import (
    GoBack,
    advice,
    failure_of,
    go_back,
    hold_after,
    is_verified,
    pods_know_the_secret,
    with_proof,
)

LATER = timedelta(seconds=11)  # longer than a server settles
TOLD = (pod("p-0", told=NEW), pod("p-1"))


def rolling(
    *endpoints: Endpoint, strategy: UpdateStrategy = UpdateStrategy.RELOAD, failures: int = 0, **changes: Any
) -> Context:
    """A rollout of `NEW` whose first pod was reloaded a while ago."""
    states = (state(*TOLD, of=workload(strategy)),)
    begun = replace(progress(), acted_at={TOLD[0].uid: NOW - LATER})
    fine = a_context(
        desired(workloads=(workload(strategy),), dns_names=("mx.example.com",)),
        secret=secret(certificate=certificate(sha256=NEW)),
        workloads=states,
        progress=begun,
        failures=failures,
        endpoints=endpoints,
        probed_at=NOW,
    )
    return changed(fine, **changes)


def stored(sha256: str, *, verified: bool) -> Status:
    """A status that remembers what was stored."""
    return Status(stored=Stored("mx-tls", None, sha256, is_verified=verified))


REFUSED = (seen("p-0", SMTP, NEW, Reason.UNTRUSTED_ROOT), seen("p-0", SMTPS, NEW), *all_serve(OLD, "p-1"))


@pytest.mark.parametrize(
    ("first", "at_once", "at_the_second"),
    [
        (seen("p-0", SMTP, NEW, Reason.UNTRUSTED_ROOT), True, True),
        (seen("p-0", SMTP, NEW, Reason.INCOMPLETE_CHAIN), True, True),
        (seen("p-0", SMTP, None, Reason.STARTTLS_UNAVAILABLE), True, True),
        (seen("p-0", SMTP, None, Reason.TLS_HANDSHAKE_FAILED), True, True),
        (seen("p-0", SMTP, OLD), False, True),
        (seen("p-0", SMTP, OLD, Reason.UNEXPECTED_CERTIFICATE), False, True),
        (seen("p-0", SMTP, None, Reason.CONNECTION_REFUSED), False, True),
        (seen("p-0", SMTP, None, Reason.CONNECT_TIMEOUT), False, False),
        (seen("p-0", SMTP, None, Reason.NETWORK_UNREACHABLE), False, False),
        (seen("p-0", SMTP, None, Reason.SERVER_BUSY), False, False),
        (seen("p-0", SMTP, NEW, Reason.WEAK_CRYPTO), False, False),
        (seen("p-0", SMTP, NEW), False, False),
    ],
)
def test_what_a_reloaded_pod_serves_decides(first: Endpoint, at_once: bool, at_the_second: bool) -> None:
    """Harm to clients at once, a server that may be slow after a second attempt, the way to the pod never."""
    others = (seen("p-0", SMTPS, NEW), *all_serve(OLD, "p-1"))
    assert (failure_of(rolling(first, *others), NOW) is not None) is at_once
    assert (failure_of(rolling(first, *others, failures=1), NOW) is not None) is at_the_second


@pytest.mark.parametrize(
    "fault", [Reason.EXEC_UNAVAILABLE, Reason.FILE_NOT_UPDATED, Reason.RELOAD_FAILED, Reason.POD_NOT_READY]
)
def test_pod_that_could_not_be_reloaded_is_no_reason(fault: Reason) -> None:
    """Nothing was proven of the certificate: the old one is served."""
    begun = replace(progress(), faults={TOLD[0].uid: Finding(fault, "It failed.")})
    context = rolling(*all_serve(OLD, "p-0", "p-1"), progress=begun, failures=0)
    assert failure_of(context, NOW) is None


def test_pod_that_is_not_ready_is_no_reason_however_often_it_was_waited_for() -> None:
    """A pod becomes unready for many causes."""
    states = (state(pod("p-0", told=NEW, ready=False), pod("p-1")),)
    late = replace(progress(started=timedelta(hours=1)), acted_at={"uid-of-p-0": NOW - timedelta(hours=1)})
    assert failure_of(rolling(*all_serve(OLD, "p-1"), workloads=states, progress=late, failures=3), NOW) is None


def test_key_that_the_user_of_the_pod_cannot_read_is_no_reason() -> None:
    """The certificate before would be as unreadable."""
    blind = replace(TOLD[0], key_fault=Finding(Reason.KEY_UNREADABLE, "Set fsGroup."))
    without_tls = (seen("p-0", SMTP, None, Reason.STARTTLS_UNAVAILABLE), *all_serve(OLD, "p-1"))
    for pods, is_reason in ((TOLD, True), ((blind, TOLD[1]), False)):
        context = rolling(*without_tls, seen("p-0", SMTPS, NEW), workloads=(state(*pods),), failures=1)
        assert (failure_of(context, NOW) is not None) is is_reason


def test_server_that_settles_is_given_its_time() -> None:
    """A moment after its reload a server may show nothing at all."""
    blind = (seen("p-0", SMTP, None, Reason.TLS_HANDSHAKE_FAILED), *all_serve(OLD, "p-1"))
    begun = replace(progress(), acted_at={TOLD[0].uid: NOW})
    assert failure_of(rolling(*blind, progress=begun), NOW) is None


def test_pod_that_was_never_told_is_no_reason() -> None:
    """Its port failed before the certificate came."""
    blind = (*all_serve(NEW, "p-0"), seen("p-1", SMTP, None, Reason.TLS_HANDSHAKE_FAILED), seen("p-1", SMTPS, OLD))
    assert failure_of(rolling(*blind, failures=1), NOW) is None


@pytest.mark.parametrize("strategy", list(UpdateStrategy))
def test_refusal_counts_however_the_pod_got_the_certificate(strategy: UpdateStrategy) -> None:
    """Also where a restart brought it, or the server found it by itself."""
    assert isinstance(next_step(rolling(*REFUSED, strategy=strategy), NOW), GoBack)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, {"rollout": Rollout(on_failure=OnFailure.HOLD)}),
        ({}, {"is_external": True}),
        ({"status": stored(NEW, verified=True)}, {}),
        ({"secret": secret(certificate=certificate(sha256=NEW), hold=Hold(NOW + DAY, 1))}, {}),
        ({"no_way_back": Finding(Reason.ROLLBACK_REFUSED, "It does not exist.")}, {}),
        ({"progress": None}, {}),
        ({"workloads": None}, {}),
    ],
)
def test_certificate_that_is_not_to_be_rolled_back_stays(changes: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Hold, another's Secret, one that was proven or chosen before, and where nothing is known or nothing to go to."""
    context = rolling(*REFUSED, **changes)
    assert go_back(replace(context, desired=replace(context.desired, **wanted)), NOW) is None


@pytest.mark.parametrize("wanted", [{}, {"is_external": True}, {"rollout": Rollout(on_failure=OnFailure.HOLD)}])
def test_proven_certificate_is_not_blamed_for_what_fails_later(wanted: dict[str, Any]) -> None:
    """Nobody is advised to bring an older one back: something else was changed."""
    context = rolling(*REFUSED, status=stored(NEW, verified=True))
    said = advice(replace(context, desired=replace(context.desired, **wanted)))
    assert "is not the cause" in said
    assert "previous" not in said
    assert "rollback" not in said


def test_certificate_is_proven_by_every_pod_and_stays_so() -> None:
    """As deep as the spec wants it; what fails later takes nothing back, and another certificate starts anew."""
    good = all_serve(NEW, "p-0", "p-1")
    assert is_verified(rolling(*good, probed_depth=Depth.FULL), NOW)
    assert not is_verified(rolling(*good, probed_depth=Depth.QUICK), NOW)
    assert not is_verified(rolling(*good[:-1]), NOW)
    assert not is_verified(rolling(*REFUSED), NOW)
    assert not is_verified(rolling(), NOW)
    assert is_verified(rolling(*REFUSED, status=stored(NEW, verified=True)), NOW)
    assert not is_verified(rolling(*REFUSED, status=stored(OLD, verified=True)), NOW)


def test_pods_that_proved_one_certificate_of_a_secret_are_known_to_read_it_with_the_next_ones() -> None:
    """So that none is restarted at a renewal as if it still ran on what was there before the Secret."""
    first, second, third = (Stored("mx-tls", None, sha256) for sha256 in (OLD, NEW, "ff" * 32))
    fine = rolling(*all_serve(NEW, "p-0", "p-1"), probed_depth=Depth.FULL)
    assert not pods_know_the_secret(fine)
    proven = with_proof(second, fine, NOW)
    workloads = (str(workload()),)
    assert proven == replace(second, is_verified=True, proven_in=workloads)
    renewing = rolling(status=Status(stored=proven))
    assert pods_know_the_secret(renewing)
    assert with_proof(third, renewing, NOW) == replace(third, proven_in=workloads)
    for other in (replace(proven, name="other-tls"), replace(proven, uid="of-one-that-was-deleted")):
        elsewhere = rolling(status=Status(stored=other))
        assert with_proof(first, elsewhere, NOW) == first
        assert not pods_know_the_secret(elsewhere)


def test_workload_that_is_added_has_to_prove_the_secret_itself() -> None:
    """Its pods may be older than the Secret, whatever others have proven, and though the certificate was verified."""
    before = Stored("mx-tls", None, NEW, is_verified=True, proven_in=(str(workload()),))
    more = desired(workloads=(workload(), replace(workload(), name="dovecot")), dns_names=("mx.example.com",))
    added = replace(rolling(*all_serve(NEW, "p-0"), status=Status(stored=before)), desired=more)
    assert not pods_know_the_secret(added)
    assert with_proof(before, added, NOW) == before


@pytest.mark.parametrize(
    ("times", "left", "held"),
    [
        (0, 80 * DAY, DAY),
        (1, 80 * DAY, 2 * DAY),
        (4, 80 * DAY, 16 * DAY),
        (10**9, 80 * DAY, 16 * DAY),
        (4, 10 * DAY, 5 * DAY),
        (0, timedelta(hours=1.5), timedelta(hours=1)),
        (0, timedelta(minutes=30), timedelta(minutes=30)),
    ],
)
def test_hold_grows_with_each_time_in_a_row_and_leaves_time_for_another(
    times: int, left: timedelta, held: timedelta
) -> None:
    """The CA is asked ever more seldom, but not only after the expiry."""
    before = RefusedCertificate("ee", "01", "It failed.", NOW - DAY, times)
    pair = ServingSecret(certificate(not_after=NOW + left), hold=Hold(NOW, 1, before) if times else None)
    hold = hold_after(pair, rolling(), "It failed.", NOW)
    assert (hold.until - NOW, hold.generation) == (held, 1)
    assert hold.refused == RefusedCertificate(NEW, "0a", "It failed.", NOW, times + 1)


def test_refused_certificate_leaves_the_only_pod_that_had_it_and_is_kept() -> None:
    """The pods that never got it are not touched; a person finds it in the Secret for rollbacks."""
    mail = Refused()
    bad = mail.renew()
    mail.run()
    assert mail.servers.ever == [(PODS[0], bad.sha256), (PODS[0], mail.first.sha256)]
    assert (mail.serving().sha256, mail.kept().sha256) == (mail.first.sha256, bad.sha256)
    assert mail.status()["endpointsServed"] == 3
    assert mail.status()["secret"]["verified"]


def test_rollback_is_said_once_with_its_cause_and_what_to_do() -> None:
    """Condition, Event, history, metric and command; Verified says that clients are served."""
    mail = Refused()
    bad = mail.renew()
    for _ in range(3):
        mail.run()
    said = mail.condition("RolledOut")
    assert (said["status"], said["reason"]) == ("False", "RolledBack")
    for words in (
        bad.serial_number,
        "Port 25 of pod postfix-0",
        "UntrustedRoot",
        "kubectl mailtls rollback NAME",
        f"Every pod has certificate {mail.first.serial_number}.",
    ):
        assert words in said["message"]
    assert mail.condition("Verified")["status"] == "True"
    assert [(each["type"], each["reason"]) for each in mail.events()] == [
        ("Normal", "Ready"),
        ("Warning", "RolledBack"),
    ]
    assert [each["event"] for each in mail.status()["history"]] == ["RolledBack"]
    assert b'mailtls_rollbacks_total{cause="failure"} 1.0' in mail.metrics.text()


def test_another_certificate_is_ordered_after_the_hold_or_by_a_person() -> None:
    """Neither the renewal that is overdue nor another issuer is a reason before."""
    mail = Refused()
    mail.renew()
    mail.run()
    hold = json.loads(mail.cluster.objects[SECRET]["metadata"]["annotations"]["mailtls.dev/rolled-back"])
    known = mail.observer.observe(mail.desired(), mail.cluster.objects[PATH])
    assert known.issuance.schedule is not None
    due = changed(known, schedule=replace(known.issuance.schedule, renewal_at=NOW))
    assert issuance_is_due(due, mail.clock.now()) is None
    assert hold["refused"]["times"] == 1
    asked = replace(due, desired=replace(due.desired, renew_requested="now"))
    found = issuance_is_due(asked, mail.clock.now())
    assert found is not None
    assert found.reason is Reason.RENEWAL_REQUESTED


def test_second_refused_certificate_in_a_row_waits_longer_and_the_first_pair_survives() -> None:
    """The count stands with the pair that is gone back to, not in the memory of a process."""
    mail = Refused()
    mail.renew()
    mail.run()
    mail.restart()
    second = mail.renew()
    mail.run()
    note = json.loads(mail.cluster.objects[SECRET]["metadata"]["annotations"]["mailtls.dev/rolled-back"])
    assert (note["refused"]["times"], note["refused"]["sha256"]) == (2, second.sha256)
    assert (mail.serving().sha256, mail.kept().sha256) == (mail.first.sha256, second.sha256)
    assert [each["event"] for each in mail.status()["history"]] == ["RolledBack", "RolledBack"]


def test_person_who_brings_the_refused_one_back_is_not_overruled() -> None:
    """It is tried again in the first pod, fails, and stays there until somebody decides."""
    mail = Refused()
    bad = mail.renew()
    mail.run()
    mail.request("rollback", "1")
    mail.run()
    assert mail.serving().sha256 == bad.sha256
    said = mail.condition("RolledOut")
    assert (said["reason"], mail.servers.loaded[PODS[1]]) == ("CanaryFailed", mail.first.sha256)
    assert "kubectl mailtls rollback NAME" in said["message"]


def test_port_without_tls_after_the_reload_is_brought_back() -> None:
    """A server that cannot use the certificate offers none at all."""
    mail = Refused()
    mail.servers.blind = frozenset({Reason.STARTTLS_UNAVAILABLE})
    mail.renew(Reason.STARTTLS_UNAVAILABLE)
    mail.clock.advance(timedelta(seconds=60))
    mail.run()
    for _ in range(5):
        mail.clock.advance(timedelta(seconds=15))
        mail.run()
    assert mail.serving().sha256 == mail.first.sha256
    assert set(mail.servers.loaded.values()) == {mail.first.sha256}


def test_single_pod_goes_back_though_its_rollout_had_ended() -> None:
    """Every pod had the certificate, and it was never proven."""
    mail = Refused(pods=1)
    bad = mail.renew()
    mail.run()
    assert mail.servers.ever == [(PODS[0], bad.sha256), (PODS[0], mail.first.sha256)]


def test_hold_leaves_the_pods_as_they_are_and_says_so() -> None:
    """The first pod serves the new one, the others the one before, until somebody decides."""
    mail = Refused(onFailure="Hold")
    bad = mail.renew()
    mail.run()
    assert mail.servers.ever == [(PODS[0], bad.sha256)]
    said = mail.condition("RolledOut")
    assert said["reason"] == "CanaryFailed"
    assert "spec.rollout.onFailure is Hold" in said["message"]
    assert "kubectl mailtls rollback NAME" in said["message"]


def test_server_that_is_changed_after_it_served_well_gives_its_own_reason() -> None:
    """Its reload has not helped, which RolledOut says; Ready has what is found there, and that a person must act."""
    mail = Refused(pods=1)
    mail.cluster.on_reload = lambda _pod: Executed(0, "", "")
    mail.servers.loaded[PODS[0]] = mail.first.sha256
    mail.servers.refused[mail.first.sha256] = Reason.STARTTLS_NOT_ADVERTISED
    mail.servers.blind = frozenset({Reason.STARTTLS_NOT_ADVERTISED})
    mail.request("probe", "1")
    mail.run()
    for _ in range(3):
        mail.clock.advance(LATER)
        mail.run()
    assert mail.serving().sha256 == mail.first.sha256
    assert mail.condition("RolledOut")["reason"] == "CanaryFailed"
    ready = mail.condition("Ready")
    assert (ready["reason"], mail.condition("Stalled")["status"]) == ("StarttlsNotAdvertised", "True")
    assert ready["message"].startswith(mail.condition("Verified")["message"])
    assert "undo what was changed in the server" in ready["message"]


def _plant(mail: Refused) -> None:
    mail.cluster.objects[PREVIOUS]["data"]["tls.crt"] = mail.cluster.objects[SECRET]["data"]["tls.crt"]


def _never_proven(mail: Refused) -> None:
    mail.unproven()


def _distrust(mail: Refused) -> None:
    mail.cluster.objects[ROOTS]["data"]["ca.crt"] = ""


def _lose(mail: Refused) -> None:
    del mail.cluster.objects[PREVIOUS]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_plant, "somebody else wrote into it"),
        (_never_proven, "not every pod was verified with its certificate"),
        (_distrust, "no root that is trusted now vouches for its certificate"),
        (_lose, "it does not exist"),
    ],
)
def test_pair_before_that_is_not_good_any_more_is_not_gone_back_to(
    spoil: Callable[[Refused], None], words: str
) -> None:
    """Nothing changes, the other pods keep what they have, and the message says why."""
    mail = Refused()
    bad = mail.renew()
    spoil(mail)
    mail.run()
    assert mail.serving().sha256 == bad.sha256
    assert mail.servers.ever == [(PODS[0], bad.sha256)]
    said = mail.condition("RolledOut")
    assert said["reason"] == "CanaryFailed"
    assert words in said["message"]


def test_note_of_what_failed_comes_back_when_somebody_removes_it() -> None:
    """Else a tool that tidies annotations would have a certificate ordered each time."""
    mail = Refused()
    mail.renew()
    mail.run()
    notes = mail.cluster.objects[SECRET]["metadata"]["annotations"]
    before = notes.pop("mailtls.dev/rolled-back")
    mail.observer.note_event(MX)
    mail.run()
    assert mail.cluster.objects[SECRET]["metadata"]["annotations"]["mailtls.dev/rolled-back"] == before


@pytest.mark.parametrize("effect", range(14))
def test_crash_anywhere_neither_loops_nor_loses(effect: int) -> None:
    """The next process goes on: the old one serves everywhere, one pod ever had the refused one, and both are kept."""
    mail = Refused()
    bad = mail.renew()
    if not killed_at(mail, effect):
        assert effect > 10  # all that there is was done
        return
    mail.restart()
    for _ in range(3):
        mail.run()
        mail.clock.advance(timedelta(seconds=20))
    assert (mail.serving().sha256, mail.kept().sha256) == (mail.first.sha256, bad.sha256)
    assert set(mail.servers.loaded.values()) == {mail.first.sha256}
    assert {name for name, sha256 in mail.servers.ever if sha256 == bad.sha256} <= {PODS[0]}
    assert [each["event"] for each in mail.status()["history"]] == ["RolledBack"]
    assert [each["reason"] for each in mail.events()].count("RolledBack") <= 1  # the status is written before it
    assert "attempts" not in mail.status()
