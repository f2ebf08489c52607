"""Whether a certificate is due."""

from datetime import timedelta

import pytest

from builders.contexts import a_context, wanting
from builders.stories import DAY, NOW, attempts, certificate, desired, schedule, secret, staged
from mailtls.api.spec import PrivateKeyPolicy, RotationPolicy
from mailtls.api.state import Failure
from mailtls.api.status import Condition, ConditionType, Status, Truth
from mailtls.context import Context
from mailtls.issuance.policy import (
    fits,
    is_held_back,
    issuance_is_due,
    may_have_left_an_order,
    spoils_a_kept_key,
    usable,
)
from mailtls.kube.snapshot import ServingSecret
from mailtls.pki.certificate import KeyAlgorithm
from mailtls.reasons.reason import Finding, Reason

PLACEHOLDER = secret(certificate=certificate(self_signed=True), acme_server=None, is_ours=True)
KEPT = PrivateKeyPolicy(rotation_policy=RotationPolicy.NEVER)


def test_all_is_well_nothing_is_due() -> None:
    """The right certificate in the right Secret is left alone."""
    assert issuance_is_due(a_context(), NOW) is None


@pytest.mark.parametrize(
    ("have", "reason"),
    [
        (ServingSecret(exists=False), Reason.SECRET_MISSING),
        (secret(certificate=None), Reason.SECRET_UNREADABLE),
        (secret(key_spki_sha256=None), Reason.SECRET_UNREADABLE),
        (secret(key_spki_sha256="00" * 32), Reason.KEY_MISMATCH),
        (secret(acme_server=None), Reason.ISSUER_CHANGED),
        (secret(acme_server="https://other.test"), Reason.ISSUER_CHANGED),
        (secret(profile="shortlived"), Reason.ISSUER_CHANGED),
        (PLACEHOLDER, Reason.SELF_SIGNED_PLACEHOLDER),
        (secret(certificate=certificate(names=frozenset({"old.example.test"}))), Reason.NAMES_CHANGED),
        (secret(certificate=certificate(key_size=384)), Reason.KEY_POLICY_CHANGED),
        (secret(certificate=certificate(not_after=NOW + DAY / 8)), Reason.RENEWAL_DUE),
    ],
)
def test_fault_in_the_secret_is_named(have: ServingSecret, reason: Reason) -> None:
    """Each fault is a reason of its own."""
    found = issuance_is_due(a_context(secret=have), NOW)
    assert found is not None
    assert found.reason is reason


def test_several_faults_first_check_wins() -> None:
    """A Secret that is missing is not also said to be for other names."""
    found = issuance_is_due(a_context(desired(renew_requested="now"), secret=ServingSecret(exists=False)), NOW)
    assert found is not None
    assert found.reason is Reason.SECRET_MISSING


def test_names_in_another_order_are_the_same() -> None:
    """The order of dnsNames is the user's taste."""
    both = frozenset({"a.test", "b.test"})
    have = a_context(secret=secret(certificate=certificate(names=both)))
    assert issuance_is_due(wanting(desired(dns_names=("b.test", "a.test")), have), NOW) is None


def test_time_drawn_has_come_renewal_is_due() -> None:
    """The drawn time decides, to the second."""
    have = a_context(schedule=schedule(renewal_at=NOW))
    assert issuance_is_due(have, NOW - timedelta(seconds=1)) is None
    found = issuance_is_due(have, NOW)
    assert found is not None
    assert found.reason is Reason.RENEWAL_DUE


def test_window_far_beyond_expiry_does_not_hold_renewal_back() -> None:
    """A CA that names a window after the expiry does not let the certificate run out."""
    late = a_context(schedule=schedule(renewal_at=NOW + 400 * DAY))
    assert issuance_is_due(late, NOW + 79 * DAY) is not None


def test_last_twentieth_of_the_lifetime_is_due_whatever_was_drawn() -> None:
    """The last call comes at a twentieth of the lifetime, here four and a half of 90 days, and no earlier."""
    late = a_context(schedule=schedule(renewal_at=NOW + 400 * DAY))
    last_call = NOW + 75.5 * DAY
    assert issuance_is_due(late, last_call - timedelta(seconds=1)) is None
    assert issuance_is_due(late, last_call) is not None


def test_schedule_of_another_certificate_does_not_count() -> None:
    """A time drawn for the previous certificate is not this one's."""
    stale = a_context(schedule=schedule(sha256="00" * 32, renewal_at=NOW - DAY))
    assert issuance_is_due(stale, NOW) is None


def test_renew_annotation_counts_once() -> None:
    """A wanted is due until the Secret says that it was acted on."""
    wanted = desired(renew_requested="1")
    found = issuance_is_due(a_context(wanted), NOW)
    assert found is not None
    assert found.reason is Reason.RENEWAL_REQUESTED
    assert issuance_is_due(a_context(wanted, secret=secret(handled_renew="1")), NOW) is None


def test_key_policy_of_rsa_asks_for_rsa() -> None:
    """ECDSA does for nobody who wants RSA."""
    rsa = desired(private_key=PrivateKeyPolicy(KeyAlgorithm.RSA, 2048))
    found = issuance_is_due(a_context(rsa), NOW)
    assert found is not None
    assert found.reason is Reason.KEY_POLICY_CHANGED


def test_expired_certificate_is_not_usable() -> None:
    """Due and usable are different questions: expiry ends both."""
    assert usable(a_context(), NOW)
    assert not usable(a_context(), NOW + 80 * DAY)


def test_staged_key_for_other_names_does_not_fit() -> None:
    """An order for names that nobody wants any more is not gone on with."""
    assert fits(staged(), desired())
    assert not fits(staged(names=("old.test",)), desired())
    assert not fits(staged(profile="shortlived"), desired())


@pytest.mark.parametrize(
    "policy", [PrivateKeyPolicy(size=384), PrivateKeyPolicy(KeyAlgorithm.RSA, 2048), PrivateKeyPolicy(size=256)]
)
def test_staged_key_of_another_kind_does_not_fit(policy: PrivateKeyPolicy) -> None:
    """Who asks for RSA in mid-order does not get one more ECDSA certificate first."""
    wanted = (policy.algorithm, policy.size) == (KeyAlgorithm.ECDSA, 256)
    assert fits(staged(), desired(private_key=policy)) is wanted


@pytest.mark.parametrize(
    ("policy", "have", "spoilt"),
    [
        (KEPT, a_context(), True),
        (PrivateKeyPolicy(), a_context(), False),
        (KEPT, a_context(secret=ServingSecret(exists=False)), False),
        (
            KEPT,
            a_context(secret=secret(certificate=certificate(spki_sha256="cc" * 32), key_spki_sha256="cc" * 32)),
            False,
        ),
        (KEPT, a_context(secret=secret(key_spki_sha256="00" * 32)), False),
        (PrivateKeyPolicy(size=384, rotation_policy=RotationPolicy.NEVER), a_context(), False),
    ],
    ids=["another key", "rotation Always", "nothing serves", "the same key", "broken pair", "key of another kind"],
)
def test_key_staged_before_rotation_ended_spoils_the_kept_one(
    policy: PrivateKeyPolicy, have: Context, spoilt: bool
) -> None:
    """A key that others have pinned is not replaced by an order that was under way when that was said."""
    assert spoils_a_kept_key(staged(), wanting(desired(private_key=policy), have)) is spoilt


@pytest.mark.parametrize(
    ("have", "held"),
    [
        (a_context(), False),
        (a_context(status=Status(attempts=attempts())), True),
        (a_context(status=Status(attempts=attempts(next_attempt_at=NOW))), False),
        (a_context(status=Status(attempts=attempts(next_attempt_at=None))), True),
        (a_context(status=Status(attempts=attempts(observed_generation=0))), False),
        (a_context(status=Status(attempts=attempts(observed_renew="1"))), False),
        (a_context(issuance_failure=Failure(Finding(Reason.ACME_UNREACHABLE, "."), None)), True),
    ],
)
def test_failure_holds_back_until_its_time_or_a_change(have: Context, held: bool) -> None:
    """Failures are remembered; a changed spec or a new wanted starts at once."""
    assert is_held_back(have, NOW) is held


@pytest.mark.parametrize(
    ("generation", "reported", "has_order", "may_have"),
    [
        (1, None, False, False),
        (1, 1, True, False),
        (2, None, False, True),
        (2, 1, False, True),
        (2, 2, False, False),
        (2, 2, True, True),
    ],
    ids=["new", "first order", "never told", "changed since", "as it was", "order open"],
)
def test_orders_of_an_earlier_spec_are_looked_for_only_where_there_may_be_one(
    generation: int, reported: int | None, has_order: bool, may_have: bool
) -> None:
    """A restart with thousands of resources does not list the Secrets of each."""
    ready = Condition(ConditionType.READY, Truth.TRUE, Reason.READY, ".", NOW, reported or 0)
    status = Status(conditions=(ready,) if reported else (), has_order=has_order)
    assert may_have_left_an_order(generation, status) is may_have


def test_due_reasons_are_sentences() -> None:
    """Reasons are shown to people as they are."""
    bent = (
        secret(certificate=None),
        ServingSecret(exists=False),
        secret(key_spki_sha256="0"),
        secret(acme_server=None),
    )
    for have in bent:
        found = issuance_is_due(a_context().with_snapshot(secret=have), NOW)
        assert found is not None
        assert found.message.endswith(".")
