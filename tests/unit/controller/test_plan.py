"""The chapters in order: which step comes next."""

from datetime import timedelta

import pytest

from builders.contexts import a_context, next_step, wanting
from builders.stories import DAY, NOW, attempts, certificate, desired, schedule, secret, staged
from mailtls.api.spec import Key, PrivateKeyPolicy, RotationPolicy
from mailtls.api.state import Failure
from mailtls.api.status import Status
from mailtls.api.workload import Daemon, UpdateStrategy, Workload, WorkloadKind
from mailtls.issuance.decide import (
    CloseLeftovers,
    CloseOrder,
    GiveUp,
    OpenOrder,
    ResumeOrder,
    SaveOrder,
    ScheduleRenewal,
    StageKey,
    StoreCertificate,
)
from mailtls.issuance.order import Fail
from mailtls.issuance.order_state import OrderState
from mailtls.kube.snapshot import ServingSecret
from mailtls.kube.workload import PodState, WorkloadState
from mailtls.probe.target import Endpoint, Port, TlsMode, TlsPolicy
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.decide import ReadWorkloads, read_workloads, roll
from mailtls.rollout.steps import RollProgress
from mailtls.step import Rest
from mailtls.verification.evidence import targets

MISSING = ServingSecret(exists=False)
MINUTE = timedelta(minutes=1)
SMTP = Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
POSTFIX = Workload(WorkloadKind.STATEFUL_SET, "postfix", UpdateStrategy.RELOAD, (Daemon("postfix", (SMTP,)),))


def test_all_is_well_rests_until_the_renewal() -> None:
    """An idle resource costs nothing before its renewal."""
    assert next_step(a_context(), NOW) == Rest(NOW + 50 * DAY)


def test_next_question_to_the_ca_wakes_earlier() -> None:
    """The CA's window is looked at again when the CA said so."""
    assert next_step(a_context(renewal_info_due_at=NOW + DAY), NOW) == Rest(NOW + DAY)
    assert next_step(a_context(renewal_info_due_at=NOW), NOW) == ScheduleRenewal()


def test_suspended_resource_does_nothing() -> None:
    """Not even a missing Secret is made."""
    assert next_step(a_context(desired(suspend=True), secret=MISSING), NOW) == Rest(None)


def test_secret_of_an_older_resource_is_left_alone() -> None:
    """Two resources on one Secret would re-issue each other for ever."""
    assert next_step(a_context(secret=MISSING, holder=Key("mail", "elder")), NOW) == Rest(None)


def test_foreign_secret_is_looked_at_again_later() -> None:
    """Somebody may delete it, or ask for its adoption, and nobody tells."""
    foreign = Finding(Reason.SECRET_NOT_OWNED, "cert-manager keeps it.")
    step = next_step(a_context(secret=secret(foreign=foreign)), NOW)
    assert step == Rest(NOW + MINUTE / 2)


def test_missing_secret_key_is_staged_first() -> None:
    """The key is saved before anything is asked of the CA."""
    step = next_step(a_context(secret=MISSING), NOW)
    assert isinstance(step, StageKey)
    assert step.due.reason is Reason.SECRET_MISSING


def test_staged_without_order_orders() -> None:
    """With key and intent saved, the order is made."""
    assert next_step(a_context(secret=MISSING, staged=staged()), NOW) == OpenOrder()


def test_order_in_hand_is_saved_before_it_is_advanced() -> None:
    """The URL is what a crash must not take."""
    have = a_context(secret=MISSING, staged=staged(), order=OrderState(url="u", status="pending"))
    assert next_step(have, NOW) == SaveOrder()


def test_saved_order_is_resumed_never_made_again() -> None:
    """After a crash the order is read again from its URL."""
    have = a_context(secret=MISSING, staged=staged(order_url="https://ca.test/order/1"))
    assert next_step(have, NOW) == ResumeOrder("https://ca.test/order/1")


def test_closed_journal_stages_a_new_key() -> None:
    """A key of an order that is over is not used for another."""
    assert isinstance(next_step(a_context(secret=MISSING, staged=staged(is_open=False)), NOW), StageKey)


def test_failed_order_is_given_up() -> None:
    """What the order's state machine calls hopeless is filed as a failure."""
    invalid = OrderState(url="u", status="invalid", identifiers=("mx.example.test",))
    step = next_step(a_context(secret=MISSING, staged=staged(order_url="u"), order=invalid), NOW)
    assert isinstance(step, GiveUp)
    assert isinstance(step.fail, Fail)


def test_downloaded_chain_is_stored() -> None:
    """A chain in hand is written before anything else is done."""
    have = a_context(secret=MISSING, staged=staged(order_url="u"), chain=certificate())
    assert next_step(have, NOW) == StoreCertificate()


def test_stored_certificate_closes_its_order() -> None:
    """Once the staged key serves, the challenges are removed."""
    have = a_context(secret=secret(), staged=staged(spki_sha256="bb" * 32, order_url="u"))
    assert next_step(have, NOW) == CloseOrder()


def test_kept_key_is_not_taken_for_a_stored_certificate() -> None:
    """Under rotation Never the staged key serves already, with the certificate that is to be replaced."""
    have = a_context(
        secret=secret(handled_renew="1"), staged=staged(spki_sha256="bb" * 32, replaces_sha256="aa" * 32, order_url="u")
    )
    assert next_step(wanting(desired(renew_requested="2"), have), NOW) == ResumeOrder("u")


def test_changed_names_close_the_order_first() -> None:
    """An order for the old names is let go before the new ones are ordered."""
    have = a_context(secret=MISSING, staged=staged(names=("old.test",), order_url="u"))
    assert next_step(have, NOW) == CloseOrder()


def test_changed_key_policy_closes_the_order_first() -> None:
    """A certificate for the kind of key that nobody wants any more is not waited for."""
    have = a_context(secret=MISSING, staged=staged(order_url="u"))
    assert next_step(wanting(desired(private_key=PrivateKeyPolicy(size=384)), have), NOW) == CloseOrder()


def test_rotation_that_ends_in_mid_order_closes_it_first() -> None:
    """The key that serves is pinned now, so the one that was staged must not take its place."""
    have = a_context(staged=staged(order_url="u"))
    kept = desired(private_key=PrivateKeyPolicy(rotation_policy=RotationPolicy.NEVER), renew_requested="1")
    assert next_step(wanting(kept, have), NOW) == CloseOrder()
    assert next_step(wanting(desired(renew_requested="1"), have), NOW) == ResumeOrder("u")


def test_order_under_an_earlier_secret_name_is_closed_before_all_else() -> None:
    """Also where the new Secret is another's; a resource that is suspended does nothing."""
    have = a_context(leftovers_due_at=NOW, holder=Key("mail", "elder"))
    assert next_step(have, NOW) == CloseLeftovers()
    assert next_step(wanting(desired(suspend=True), have), NOW) == Rest(None)


def test_closing_under_an_earlier_secret_name_is_tried_again_in_time() -> None:
    """What could not be closed wakes the resource, whatever else it waits for."""
    have = a_context(leftovers_due_at=NOW + MINUTE)
    assert next_step(have, NOW) == Rest(NOW + MINUTE)
    assert next_step(have.with_snapshot(holder=Key("mail", "elder")), NOW) == Rest(NOW + MINUTE)


def test_failed_closing_is_not_tried_again_in_the_same_pass() -> None:
    """A DNS server that is down would otherwise be asked in a busy loop."""
    later = Failure(Finding(Reason.DNS_UNREACHABLE, "."), NOW + MINUTE)
    have = a_context(staged=staged(spki_sha256="bb" * 32, order_url="u"), issuance_failure=later)
    assert next_step(have, NOW) == Rest(NOW + MINUTE)


def test_closing_that_fails_holds_back_the_next_order() -> None:
    """The proofs of the old order are removed first, in a while."""
    later = Failure(Finding(Reason.DNS_UPDATE_REFUSED, "."), NOW + MINUTE)
    have = a_context(secret=MISSING, staged=staged(names=("old.test",), order_url="u"), close_failure=later)
    assert next_step(have, NOW) == Rest(NOW + MINUTE)


def test_pause_that_ended_while_the_pass_was_at_work_is_over() -> None:
    """A probe may take longer than the pause of a failure before it: nobody would come back otherwise."""
    past = Failure(Finding(Reason.ACME_UNREACHABLE, "."), NOW - MINUTE)
    assert next_step(a_context(secret=MISSING, issuance_failure=past), NOW) == Rest(NOW)


def test_remembered_failure_closes_and_waits() -> None:
    """A restart neither forgets the failure nor the open order."""
    status = Status(attempts=attempts())
    have = a_context(secret=MISSING, status=status, schedule=None, staged=staged(order_url="u"))
    assert next_step(have, NOW) == CloseOrder()
    closed = a_context(secret=MISSING, status=status, schedule=None, staged=staged(is_open=False))
    assert next_step(closed, NOW) == Rest(NOW + MINUTE)


def test_failure_that_needs_a_person_waits_for_one() -> None:
    """No timer is set where only a person can help."""
    status = Status(attempts=attempts(next_attempt_at=None))
    assert next_step(a_context(secret=MISSING, status=status, schedule=None), NOW) == Rest(None)


def test_proof_that_spreads_is_waited_for() -> None:
    """The order is held back, without holding back the rest."""
    order = OrderState(url="u", status="pending", identifiers=("mx.example.test",))
    soon = NOW + timedelta(seconds=2)
    have = a_context(secret=MISSING, staged=staged(order_url="u"), order=order, wait_until=soon)
    assert next_step(have, NOW) == Rest(soon)


def test_certificate_without_schedule_gets_one() -> None:
    """Each new certificate is scheduled, once."""
    assert next_step(a_context(schedule=None), NOW) == ScheduleRenewal()
    assert next_step(a_context(schedule=schedule(sha256="00" * 32)), NOW) == ScheduleRenewal()


def test_workloads_are_looked_at_when_there_is_something_to_prove() -> None:
    """Pods are of no interest before there is a certificate."""
    wants = desired(workloads=(POSTFIX,))
    assert next_step(a_context(wants), NOW) == ReadWorkloads()
    held = Status(attempts=attempts(next_attempt_at=None))
    assert next_step(a_context(wants, secret=MISSING, status=held, schedule=None), NOW) == Rest(None)


def test_failing_renewal_does_not_stop_the_probe() -> None:
    """A CA that is away for days is no reason not to look at what is served."""
    failing = a_context(
        status=Status(attempts=attempts()), schedule=schedule(renewal_at=NOW - DAY), staged=staged(is_open=False)
    )
    assert next_step(wanting(desired(workloads=(POSTFIX,)), failing), NOW) == ReadWorkloads()


EXPIRED = secret(certificate=certificate(not_after=NOW - DAY))
OTHER_NAMES = secret(certificate=certificate(names=frozenset({"old.example.test"})))
OTHER_KEY = secret(key_spki_sha256="00" * 32)


@pytest.mark.parametrize("have", [EXPIRED, OTHER_NAMES, OTHER_KEY], ids=["expired", "other names", "other key"])
def test_unusable_certificate_whose_renewal_fails_is_probed_all_the_same(have: ServingSecret) -> None:
    """What is served matters most when what is stored is bad."""
    failing = a_context(secret=have, status=Status(attempts=attempts()), staged=staged(is_open=False))
    assert next_step(wanting(desired(workloads=(POSTFIX,)), failing), NOW) == ReadWorkloads()


def test_unreadable_secret_has_nothing_to_compare_with() -> None:
    """Without a certificate nothing tells what a pod should serve."""
    have = a_context(secret=secret(key_spki_sha256=None))
    assert read_workloads(wanting(desired(workloads=(POSTFIX,)), have), NOW) is None


@pytest.mark.parametrize(("have", "rolls"), [(secret(), True), (EXPIRED, False), (OTHER_NAMES, False)])
def test_unusable_certificate_is_told_to_no_pod(have: ServingSecret, *, rolls: bool) -> None:
    """A pod that serves a certificate that still works keeps it."""
    pod = PodState("postfix-0", "uid-0", ("198.51.100.1",), ready=True)
    states = (WorkloadState(POSTFIX, pods=(pod,), replicas_wanted=1),)
    old = Finding(Reason.SERVING_OLD_CERTIFICATE, ".")
    endpoints = tuple(
        Endpoint(each, NOW, (old,), served_sha256="00" * 32) for each in targets(states, "mx.example.test")
    )
    world = a_context(secret=have, workloads=states, endpoints=endpoints, probed_at=NOW)
    world = world.with_rollout(progress=RollProgress(NOW, timedelta(minutes=10)))
    assert (roll(wanting(desired(workloads=(POSTFIX,)), world), NOW) is not None) is rolls


def test_expiry_wakes_the_resource() -> None:
    """The moment of the expiry is said then, not at the next probe."""
    held = Status(attempts=attempts(next_attempt_at=None))
    have = a_context(secret=secret(certificate=certificate(not_after=NOW + DAY / 8)), status=held)
    assert next_step(have, NOW) == Rest(NOW + DAY / 8)


def test_secret_of_a_namesake_that_never_goes_is_looked_at_ever_more_seldom() -> None:
    """The garbage collector takes a moment; somebody's finalizer may keep it for ever."""
    left = Finding(Reason.PENDING, "It is of an earlier MailServerTLS of this name.")
    have = a_context(secret=secret(foreign=left))
    rests = [next_step(wanting(desired(created_at=NOW - timedelta(seconds=age)), have), NOW) for age in (1, 80, 86400)]
    assert rests == [Rest(NOW + timedelta(seconds=pause)) for pause in (2, 10, 30)]
