"""When a placeholder is made, and made anew while the first certificate is awaited."""

from dataclasses import replace
from datetime import timedelta

import pytest

from builders.contexts import a_context, next_step
from builders.stories import DAY, NOW, attempts, certificate, desired, secret
from mailtls.api.spec import Bootstrap
from mailtls.api.status import Status
from mailtls.context import Context
from mailtls.issuance.bootstrap import LIFETIME, REMADE_BEFORE, SUBJECT, WritePlaceholder
from mailtls.kube.snapshot import ServingSecret
from mailtls.step import Rest

SECOND = timedelta(seconds=1)
MADE = certificate(self_signed=True, issuer=f"CN={SUBJECT}", not_before=NOW - DAY / 24, not_after=NOW + LIFETIME)
HELD = secret(certificate=MADE, acme_server=None, is_ours=True)
DUE = NOW + LIFETIME - REMADE_BEFORE


def waiting(have: ServingSecret = HELD, **changes: object) -> Context:
    """A resource whose first certificate needs a person first."""
    failed = attempts(next_attempt_at=None)
    wanted = desired(**({"bootstrap": Bootstrap.SELF_SIGNED} | changes))
    return a_context(wanted, secret=have, schedule=None, status=Status(attempts=failed))


def test_placeholder_is_made_anew_with_a_third_of_its_life_left() -> None:
    """A server that restarts later than it lives finds one that has not expired; until then nothing wakes for it."""
    rest = next_step(waiting(), NOW)
    assert isinstance(rest, Rest)
    assert rest.until == DUE
    assert not isinstance(next_step(waiting(), DUE - SECOND), WritePlaceholder)
    assert isinstance(next_step(waiting(), DUE), WritePlaceholder)
    assert isinstance(next_step(waiting(), NOW + 2 * LIFETIME), WritePlaceholder), "after a stop of the operator"


@pytest.mark.parametrize(
    "have",
    [
        waiting(bootstrap=None),
        waiting(suspend=True),
        waiting(replace(HELD, is_ours=False)),
        waiting(replace(HELD, acme_server="https://ca.test/directory")),
        waiting(replace(HELD, adopted="aa" * 32)),
        waiting(replace(HELD, certificate=replace(MADE, issuer="CN=mx.example.test"))),
        waiting(replace(HELD, certificate=replace(MADE, self_signed=False))),
    ],
    ids=["none wanted", "suspended", "another's", "a CA's", "adopted", "self-signed by hand", "issued"],
)
def test_nothing_else_is_ever_written_over(have: Context) -> None:
    """What serves, what somebody put there, and what nobody asked to be bootstrapped stays."""
    assert not isinstance(next_step(have, NOW + 2 * LIFETIME), WritePlaceholder)
