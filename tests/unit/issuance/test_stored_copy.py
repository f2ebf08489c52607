"""A pair that was ordered is known as ours from its storing on, and copied by the write that closes its order."""

from dataclasses import replace
from datetime import timedelta
from threading import Event
from typing import Any

import pytest

from builders.contexts import a_context, next_step, wanting
from builders.pairs import RESOURCE, fresh, self_signed
from builders.stories import desired
from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailtls.api.reading.spec import Defaults
from mailtls.api.resource import ORDER
from mailtls.api.spec import PrivateKeyPolicy
from mailtls.api.state import Failure
from mailtls.api.status import Status, Stored
from mailtls.context import Context
from mailtls.issuance.acme.accounts import Accounts
from mailtls.issuance.certificates import new_key
from mailtls.issuance.decide import CloseLeftovers, CloseOrder, OpenOrder, StoreCertificate
from mailtls.issuance.execute import Issuing
from mailtls.issuance.guard import RestoreSecret, SaveCopy, is_replaced, restored
from mailtls.issuance.leftovers import CLEAN_UP_TRIES, Leftovers
from mailtls.issuance.solvers.base import Surroundings
from mailtls.issuance.solvers.registry import SOLVERS, Solvers
from mailtls.issuance.validation import Validation
from mailtls.kube.interface import ApiError
from mailtls.kube.journal import Seal
from mailtls.kube.pairs import path
from mailtls.kube.secrets import Secrets
from mailtls.kube.snapshot import ServingSecret, Staged
from mailtls.metrics import Metrics
from mailtls.pki.certificate import KeyMaterial
from mailtls.reasons.reason import Finding, Reason

SECRET, NEXT = path("mail", "mx-tls"), path("mail", "mx-tls-next")


class Storing:
    """A resource with an older certificate, of which there is a copy, and a new one that was just downloaded."""

    def __init__(self) -> None:
        self.cluster, self.clock = FakeCluster(), WallClock()
        self.secrets = Secrets(self.cluster)
        old = new_key(PrivateKeyPolicy())
        serving = self.secrets.store(desired(), self_signed(old), old, ServingSecret(exists=False))
        staged = self.secrets.stage(desired(), fresh(), RESOURCE)
        staged = self.secrets.keep_copy(desired(), serving, staged) or staged
        status = Status(stored=Stored("mx-tls", serving.uid, _sha256(serving)))
        self.before = a_context(
            status=status, secret=serving, copy=serving, staged=staged, chain=self_signed(staged.key)
        )
        self.cluster.writes.clear()

    def issuing(self) -> Issuing:
        """Perform steps."""
        accounts = Accounts(self.cluster, "mailtls", self.clock, lambda *_: None)
        validation = Validation(Solvers(SOLVERS, Surroundings(), accounts.secrets.read), self.clock)
        return Issuing(self.secrets, accounts, validation, self.clock, Metrics(), Event())

    def store(self) -> Context:
        """Store the new certificate."""
        return self.issuing().store(self.before, StoreCertificate())

    def restarted(self) -> Context:
        """What another process reads, to which the status says what it said before."""
        secrets = Secrets(self.cluster)
        serving = secrets.serving(desired())
        staged, copy = secrets.beside(desired())
        assert isinstance(staged, Staged)
        serving = secrets.recognized(desired(), serving, staged)
        return a_context(status=self.before.snapshot.status, secret=serving, copy=copy, staged=staged)

    def planned(self, now: Context) -> Any:
        """What is done next."""
        return next_step(now, self.clock.now() + timedelta(seconds=1))


def _sha256(pair: ServingSecret | None) -> str:
    assert pair is not None
    assert pair.certificate is not None
    return pair.certificate.sha256


def test_certificate_is_stored_copied_and_its_order_closed_by_two_writes() -> None:
    """Besides the pair before, which is kept; the copy that a later process reads is of the new pair."""
    storing = Storing()
    stored = storing.store()
    assert storing.planned(stored) == CloseOrder()
    closed = storing.issuing().close(stored, CloseOrder())
    written = [each for each in storing.cluster.writes if not each[1].endswith("-previous")]
    assert written == [("apply", SECRET), ("merge", NEXT)]
    found = storing.restarted()
    assert found.snapshot.staged is not None
    assert not found.snapshot.staged.is_open
    assert _sha256(found.snapshot.copy) == _sha256(found.snapshot.secret) == _sha256(closed.snapshot.copy)


def test_crash_before_the_order_is_closed_does_not_bring_the_older_pair_back() -> None:
    """Status and copy are of the older one; the pair itself says that it was stored for the order that is open."""
    storing = Storing()
    storing.store()
    found = storing.restarted()
    assert _sha256(found.snapshot.copy) != _sha256(found.snapshot.secret)
    assert not is_replaced(found)
    assert storing.planned(found) == CloseOrder()
    storing.issuing().close(found, CloseOrder())
    assert _sha256(storing.restarted().snapshot.copy) == _sha256(found.snapshot.secret)


@pytest.mark.parametrize("is_stored", [True, False], ids=["stored", "not stored yet"])
def test_order_that_is_closed_as_a_leftover_has_the_pair_copied_that_was_stored_for_it(*, is_stored: bool) -> None:
    """The uninstall, and a changed secretName, may come between the two writes; what was stored is still ours then."""
    storing = Storing()
    if is_stored:
        storing.store()
    leftovers = Leftovers(storing.issuing(), storing.secrets, Defaults(SOLVERS, desired().acme), lambda: None)
    leftovers.close_orphan(storing.cluster.objects[NEXT])
    found = storing.restarted()
    assert found.snapshot.staged is not None
    assert not found.snapshot.staged.is_open
    assert not is_replaced(found)
    assert _sha256(found.snapshot.copy) == _sha256(found.snapshot.secret)


def test_leftover_that_may_not_be_written_any_more_holds_no_resource_back() -> None:
    """The installation may have switched issuance off, and with it the right to write Secrets."""
    storing = Storing()
    storing.cluster.refuse["merge"] = ApiError(403, "Forbidden", "secrets is forbidden")
    leftovers = Leftovers(storing.issuing(), storing.secrets, Defaults(SOLVERS, desired().acme), lambda: None)
    context = a_context(replace(desired(), secret_name="another"))
    for _ in range(CLEAN_UP_TRIES):
        context = leftovers.close(context, CloseLeftovers())
    assert context.issuance.leftovers_due_at is None


@pytest.mark.parametrize("has_staged_key", [False, True], ids=["another key", "the staged key"])
@pytest.mark.parametrize("seal", [None, "made by somebody else"], ids=["our seal stays", "another seal"])
def test_pair_that_somebody_else_writes_before_the_order_is_closed_is_put_right(
    seal: str | None, *, has_staged_key: bool
) -> None:
    """Whoever may read Secrets knows the staged key, but nobody else can seal; the open order then goes on."""
    storing = Storing()
    storing.store()
    live, staged = storing.cluster.objects[SECRET], storing.before.snapshot.staged
    assert staged is not None
    live["data"] = _data_of(staged.key if has_staged_key else new_key(PrivateKeyPolicy()))
    if seal is not None:
        live["metadata"]["annotations"][ORDER] = Seal(FakeCluster(), "mailtls").of(seal.encode())
    assert is_replaced(storing.restarted())


def test_order_whose_pair_was_overwritten_before_it_was_closed_stores_its_certificate_again() -> None:
    """The pair before is put back meanwhile; no second order is made."""
    wants, storing = desired(renew_requested="1"), Storing()
    storing.store()
    storing.cluster.objects[SECRET]["data"] = _data_of(new_key(PrivateKeyPolicy()))
    found = wanting(wants, storing.restarted())
    assert storing.planned(found) == RestoreSecret()
    assert _sha256(restored(found)) == _sha256(storing.before.snapshot.secret)
    storing.secrets.serve(desired(), restored(found), found.snapshot.secret)
    found = wanting(wants, storing.restarted())
    assert not is_replaced(found)
    assert storing.planned(found) == OpenOrder()  # which finds the one that was made for the staged key
    assert found.snapshot.staged is not None
    assert found.snapshot.staged.is_open


def _data_of(key: KeyMaterial) -> dict[str, str]:
    other = FakeCluster()
    Secrets(other).store(desired(), self_signed(key), key, ServingSecret(exists=False))
    data: dict[str, str] = other.objects[SECRET]["data"]
    return data


def test_order_that_cannot_be_closed_has_the_copy_saved_by_itself() -> None:
    """Else nothing could be put right for as long as a DNS server is away."""
    storing = Storing()
    failure = Failure(Finding(Reason.DNS_UNREACHABLE, "Gone."), storing.clock.now() + timedelta(minutes=1))
    stored = storing.store().with_issuance(close_failure=failure)
    assert storing.planned(stored) == SaveCopy()
    saved = storing.secrets.keep_copy(desired(), stored.snapshot.secret, stored.snapshot.staged)
    assert storing.planned(stored.with_snapshot(staged=saved, copy=stored.snapshot.secret)) != SaveCopy()
    assert _sha256(storing.restarted().snapshot.copy) == _sha256(stored.snapshot.secret)
