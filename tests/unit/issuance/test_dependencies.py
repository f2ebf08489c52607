"""Whether what holds an attempt back was mended by somebody, and what is looked at for that."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from builders.contexts import a_context, next_step, wanting
from builders.stories import DAY, NOW, RFC2136, attempts, desired, staged
from mailtls.api.spec import DataRef, ExternalAccountBinding
from mailtls.api.state import Failure
from mailtls.api.status import Status
from mailtls.context import Context
from mailtls.issuance.decide import StageKey
from mailtls.issuance.policy import is_held_back
from mailtls.issuance.references import (
    RecheckDependencies,
    dependencies_changed,
    lifted,
    may_lie_with_dependencies,
    references,
)
from mailtls.kube.snapshot import ObjectVersion, ServingSecret
from mailtls.reasons.reason import Finding, Reason
from mailtls.step import Rest

MINUTE = timedelta(minutes=1)
TSIG, HMAC = RFC2136.tsig_secret, DataRef("Secret", "mail", "eab", "hmac")
OLD, NEW = ObjectVersion("/tsig", "1", NOW - DAY), ObjectVersion("/tsig", "2", NOW + MINUTE)


def held(reason: Reason = Reason.EXTERNAL_ACCOUNT_REQUIRED, **changes: Any) -> Context:
    """No certificate yet, and an attempt that a person has to put right."""
    status = Status(attempts=attempts(reason=reason, next_attempt_at=None))
    return a_context(secret=ServingSecret(exists=False), status=status, schedule=None, **changes)


def refused(*, lasts: bool = True, is_final: bool = False) -> Context:
    """An order that waits because the DNS server refuses its proof."""
    failure = Failure(Finding(Reason.DNS_UPDATE_REFUSED, "No."), NOW + 10 * MINUTE, is_final=is_final, lasts=lasts)
    open_order = staged(order_url="u")
    return a_context(secret=ServingSecret(exists=False), schedule=None, staged=open_order, issuance_failure=failure)


def test_everything_an_issuance_reads_is_looked_at_once() -> None:
    """Two solvers with one key are one look; the account's objects count as well."""
    acme = desired().acme
    binding = ExternalAccountBinding("kid", HMAC)
    bundle, account = DataRef("ConfigMap", "mail", "ca", "ca.crt"), DataRef("Secret", "mail", "account", "tls.key")
    whole = replace(
        acme,
        solvers=acme.solvers * 2,
        external_account_binding=binding,
        ca_bundle=bundle,
        account_key=account,
    )
    assert set(references(desired(acme=whole))) == {TSIG, HMAC, bundle, account}
    assert len(references(desired(acme=whole))) == 4


@pytest.mark.parametrize(
    ("have", "mendable"),
    [
        (held(), True),
        (held(Reason.CHALLENGE_FAILED), False),
        (refused(), True),
        (refused(lasts=False), False),
        (refused(lasts=False, is_final=True), True),
        (a_context(), False),
    ],
    ids=["account", "no Secret's fault", "refusal", "a moment only", "just failed", "all is well"],
)
def test_only_what_a_secret_could_mend_is_looked_at(have: Context, mendable: bool) -> None:
    """Resources that are fine, or that wait for something else, cost no request."""
    assert may_lie_with_dependencies(have, NOW) is mendable


@pytest.mark.parametrize(
    ("before", "now", "mended"),
    [
        (None, OLD, False),
        (None, NEW, True),
        (None, ObjectVersion("/tsig", "2", NOW), True),
        (None, ObjectVersion("/tsig", "1", NOW - timedelta(seconds=1)), False),
        (None, ObjectVersion("/tsig", "1"), False),
        ((OLD,), OLD, False),
        ((OLD,), NEW, True),
        ((ObjectVersion("/tsig", ""),), OLD, True),
    ],
    ids=[
        "older than the failure",
        "newer than the failure",
        "in the very second",
        "a second before",
        "age unknown",
        "unchanged",
        "changed",
        "created",
    ],
)
def test_change_since_the_last_look_mends(
    before: tuple[ObjectVersion, ...] | None, now: ObjectVersion, mended: bool
) -> None:
    """After a restart, which remembers no look, the time of the failure decides."""
    assert dependencies_changed(held(dependencies=before), [now]) is mended


def test_change_in_the_second_of_a_failure_that_is_known_to_the_microsecond_mends() -> None:
    """The API server tells when an object was written by whole seconds, this process knows better of its failure."""
    failed_at = NOW.replace(microsecond=400_000)
    status = Status(attempts=attempts(reason=Reason.ACCOUNT_REJECTED, next_attempt_at=None, last_failure_at=failed_at))
    assert dependencies_changed(a_context(status=status), [ObjectVersion("/tsig", "2", NOW)])


def test_lifted_hold_lets_the_next_attempt_be_made_and_remembers_the_failures() -> None:
    """One change is one attempt; if it fails too, the pause is the longer one."""
    free = lifted(held(), NOW)
    assert not is_held_back(free, NOW)
    assert free.snapshot.status.attempts is not None
    assert free.snapshot.status.attempts.failed == 1
    assert not is_held_back(lifted(refused(), NOW), NOW)


def test_held_resource_looks_and_then_comes_back_for_the_next_look() -> None:
    """Also where no time would wake it, because a person is needed."""
    assert next_step(held(), NOW) == RecheckDependencies()
    assert next_step(held(dependencies_due_at=NOW + MINUTE), NOW) == Rest(NOW + MINUTE)
    assert isinstance(next_step(lifted(held(dependencies_due_at=NOW + MINUTE), NOW), NOW), StageKey)


def test_held_resource_without_references_is_left_alone() -> None:
    """There is nothing to look at."""
    acme = replace(desired().acme, solvers=())
    assert next_step(wanting(desired(acme=acme), held()), NOW) == Rest(None)
