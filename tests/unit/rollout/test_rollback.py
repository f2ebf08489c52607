"""Going back to the pair that served before: when, for how long, and what a crash leaves of the two."""

from base64 import b64encode
from dataclasses import replace
from datetime import timedelta
from math import inf
from typing import Any

import pytest

from builders.contexts import a_context, next_step, wanting
from builders.pairs import self_signed
from builders.stories import DAY, NOW, certificate, desired, schedule, secret, staged
from fakes.cluster import FakeCluster
from mailtls.api.reading.document import Json
from mailtls.api.spec import Desired, Key, PrivateKeyPolicy
from mailtls.api.status import Truth
from mailtls.context import Context
from mailtls.issuance.certificates import new_key
from mailtls.issuance.conditions import issued
from mailtls.issuance.decide import CloseOrder, StageKey
from mailtls.issuance.policy import issuance_is_due
from mailtls.kube.interface import Unreachable
from mailtls.kube.pairs import path
from mailtls.kube.previous import PreviousPairs
from mailtls.kube.secrets import Secrets
from mailtls.kube.snapshot import Hold, ServingSecret
from mailtls.pki.certificate import Certificate, KeyAlgorithm, KeyMaterial
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.permission import terms_of
from mailtls.rollout.rollback import RollBack, fault_of, held, hold_for, noted, refused
from mailtls.step import Rest

REQUESTED = desired(rollback_requested="1")
HELD = Hold(NOW + timedelta(hours=24), generation=1)


def pair(**changes: Any) -> ServingSecret:
    """A pair that served before, issued a month ago and good for two more."""
    old = certificate(sha256="11" * 32, spki_sha256="22" * 32, not_before=NOW - 30 * DAY, not_after=NOW + 60 * DAY)
    return ServingSecret(replace(old, **changes), "22" * 32, key=KeyMaterial(b""))


def rolled_back(until: timedelta = timedelta(hours=24), **changes: Any) -> Context:
    """A pass over a Secret that was rolled back to, whose renewal was due long ago."""
    ours = secret(hold=Hold(NOW + until, generation=1), handled_rollback="1", **changes)
    return a_context(secret=ours, schedule=schedule(renewal_at=NOW - DAY))


@pytest.mark.parametrize(
    ("copy", "is_put_back"),
    [(None, True), (secret(hold=HELD), True), (pair(), True), (secret(), False)],
    ids=["none yet", "of the rollback", "of the pair before", "of a pair that was not rolled back to"],
)
def test_annotation_of_a_rollback_that_never_was_overrides_no_window_and_no_approval(
    copy: ServingSecret | None, is_put_back: bool
) -> None:
    """Whoever may write the Secret could set it; our sealed copy of the same pair knows better."""
    assert terms_of(rolled_back().with_snapshot(copy=copy)).is_put_back is is_put_back
    assert not terms_of(a_context()).is_put_back


def test_each_value_is_a_wish_once() -> None:
    """A new value is heeded, the one that was heeded last is not, and none is no wanted."""
    assert isinstance(next_step(a_context(REQUESTED), NOW), RollBack)
    assert not isinstance(next_step(a_context(REQUESTED, secret=secret(handled_rollback="1")), NOW), RollBack)
    assert not isinstance(next_step(a_context(secret=secret(handled_rollback="1")), NOW), RollBack)


def test_wish_waits_while_the_resource_stands_aside() -> None:
    """A suspended resource changes nothing, on nobody's wanted."""
    assert next_step(a_context(replace(REQUESTED, suspend=True)), NOW) == Rest(None)


def test_without_a_secret_a_certificate_is_ordered_instead() -> None:
    """There is nothing to roll back from; the new Secret counts as an answer to the wanted."""
    assert isinstance(next_step(a_context(REQUESTED, secret=ServingSecret(exists=False)), NOW), StageKey)
    cluster, key = FakeCluster(), new_key(PrivateKeyPolicy())
    assert Secrets(cluster).store(REQUESTED, self_signed(key), key, ServingSecret(exists=False)).handled_rollback == "1"


def test_wish_comes_before_a_renewal_and_ends_the_order_of_one() -> None:
    """Who rolls back does not want what is being ordered."""
    have = a_context(staged=staged(), schedule=schedule(renewal_at=NOW - DAY))
    assert isinstance(next_step(wanting(REQUESTED, have), NOW), RollBack)
    assert isinstance(next_step(wanting(REQUESTED, rolled_back().with_snapshot(staged=staged())), NOW), CloseOrder)


def test_pair_that_can_serve_has_no_fault() -> None:
    """More names than are wanted, another authority and another kind of key do not matter to clients."""
    good = pair(names=frozenset({"mx.example.test", "old.example.test"}), key_algorithm=KeyAlgorithm.RSA, key_size=4096)
    assert fault_of(good, a_context(REQUESTED), NOW) is None


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (None, "it does not exist"),
        (ServingSecret(foreign=Finding(Reason.SECRET_NOT_OWNED, "Helm keeps it.")), "it is not of this resource"),
        (ServingSecret(None, "22" * 32), "it holds no readable certificate"),
        (ServingSecret(pair().certificate, None), "it holds no readable certificate"),
        (replace(pair(), key_spki_sha256="33" * 32), "its private key is not its certificate's"),
        (pair(sha256="aa" * 32), "its certificate is the one that serves"),
        (pair(self_signed=True), "its certificate is self-signed"),
        (pair(chain_is_ordered=False), "its chain is incomplete"),
        (pair(names=frozenset({"old.example.test"})), "its certificate is not for mx.example.test"),
        (pair(not_after=NOW), "its certificate is valid from 2026-04-01 12:00 UTC to 2026-05-01 12:00 UTC"),
        (pair(not_before=NOW + DAY), "its certificate is valid from 2026-05-02"),
    ],
)
def test_pair_that_cannot_serve_is_refused_with_the_cause(kept: ServingSecret | None, words: str) -> None:
    """What serves stays, whatever is wrong with what served before."""
    fault = fault_of(kept, a_context(REQUESTED), NOW)
    assert fault is not None
    assert fault.reason is Reason.ROLLBACK_REFUSED
    assert fault.message.startswith(f"Nothing was rolled back to Secret mx-tls-previous: {words}")


def test_refusal_is_told_once_and_kept_in_the_history() -> None:
    """An Event of its own, for the resource is as ready as before."""
    fault = fault_of(None, a_context(REQUESTED), NOW)
    assert fault is not None
    told = refused(a_context(), fault, NOW)
    assert told.issuance.refused == told.snapshot.status.history[-1]
    assert (told.issuance.refused.event, told.issuance.refused.message) == (fault.reason, fault.message)


@pytest.mark.parametrize(("left", "held"), [(60 * DAY, timedelta(hours=24)), (timedelta(hours=10), timedelta(hours=5))])
def test_hold_is_a_day_and_never_reaches_the_expiry(left: timedelta, held: timedelta) -> None:
    """A certificate that has hours to live is renewed while there is time."""
    restored = pair(not_after=NOW + left).certificate
    assert restored is not None
    assert hold_for(restored, REQUESTED, NOW) == Hold(NOW + held, generation=1)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, {}),
        ({"acme_server": "https://former.test/directory"}, {}),
        ({"certificate": certificate(names=frozenset({"mx.example.test", "old.example.test"}))}, {}),
        ({}, {"private_key": PrivateKeyPolicy(size=384)}),
    ],
)
def test_held_certificate_is_left_alone_and_then_renewed(changes: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Whatever speaks for a new one waits for the end of the hold."""
    wants, have = replace(REQUESTED, **wanted), rolled_back(**changes)
    assert issuance_is_due(wanting(wants, have), NOW) is None
    assert issuance_is_due(wanting(wants, have), NOW + timedelta(hours=24)) is not None
    step = next_step(wanting(wants, have.with_issuance(renewal_info_due_at=NOW + 2 * DAY)), NOW)
    assert step == Rest(HELD.until)


@pytest.mark.parametrize(
    ("changes", "wanted", "reason"),
    [
        ({}, {"renew_requested": "now"}, Reason.RENEWAL_REQUESTED),
        ({}, {"generation": 2}, Reason.RENEWAL_DUE),
        ({}, {"dns_names": ("mx.example.test", "new.example.test")}, Reason.NAMES_CHANGED),
        ({"certificate": certificate(not_after=NOW)}, {}, Reason.RENEWAL_DUE),
        ({"key_spki_sha256": "cc" * 32}, {}, Reason.KEY_MISMATCH),
    ],
)
def test_hold_ends_early_by_a_wish_a_new_spec_or_need(
    changes: dict[str, Any], wanted: dict[str, Any], reason: Reason
) -> None:
    """It must never keep a server without a certificate, nor a person from having one."""
    due = issuance_is_due(wanting(replace(REQUESTED, **wanted), rolled_back(**changes)), NOW)
    assert due is not None
    assert due.reason is reason


def test_hold_is_said_with_its_end() -> None:
    """The condition, the Event and the history name the time and the way out."""
    verdict = issued(wanting(REQUESTED, rolled_back()), NOW)
    told = noted(rolled_back(), NOW).issuance.issued
    assert (verdict.status, verdict.reason) == (Truth.TRUE, Reason.ISSUED)
    assert told is not None
    assert told.event is Reason.ROLLED_BACK
    for message in (verdict.message, told.message):
        assert "not renewed before 2026-05-02 12:00 UTC, unless mailtls.dev/renew requests it." in message
    assert "rolled back" not in issued(wanting(REQUESTED, rolled_back(until=-DAY)), NOW).message


def test_renewal_that_lies_in_the_hold_is_put_off_to_its_end() -> None:
    """Status and metrics show when it will be; an alert about an overdue renewal would be a false one."""
    early, late = schedule(renewal_at=NOW - DAY), schedule(renewal_at=NOW + 50 * DAY)
    assert held(early, wanting(REQUESTED, rolled_back())).renewal_at == HELD.until
    assert held(late, wanting(REQUESTED, rolled_back())) == late
    assert held(early, a_context(REQUESTED)) == early
    assert held(early, wanting(replace(REQUESTED, generation=2), rolled_back())) == early


class Dying(FakeCluster):
    """An API that answers no more after a number of writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes_left = inf

    def _store(self, verb: str, path: str, body: Json) -> Json:
        self.writes_left -= 1
        if self.writes_left < 0:
            raise Unreachable("the operator is dead")
        return super()._store(verb, path, body)


def pairs_of(cluster: FakeCluster) -> PreviousPairs:
    """As a new process reads them."""
    return PreviousPairs(cluster, Secrets(cluster).seal)


class Stage:
    """A resource whose Secret holds a second certificate, and whose previous Secret holds the first."""

    def __init__(self) -> None:
        self.cluster = Dying()
        self.first, self.second = self._stored(), self._stored()

    def _stored(self) -> Certificate:
        key = new_key(PrivateKeyPolicy())
        made = self_signed(key)
        Secrets(self.cluster).store(desired(), made, key, self.serving())
        return made

    def serving(self) -> ServingSecret:
        """What serves now."""
        return Secrets(self.cluster).serving(desired())

    def kept(self) -> ServingSecret | None:
        """What would serve after a rollback."""
        return pairs_of(self.cluster).read(desired(), self.serving())

    def roll_back(self, wants: Desired = REQUESTED) -> None:
        """Do what a pass does, checks aside."""
        serving, kept = self.serving(), self.kept()
        if serving.handled_rollback != wants.rollback_requested:
            assert kept is not None
            pairs_of(self.cluster).exchange(wants, serving, kept, HELD)

    def leaves(self) -> tuple[str, str]:
        """The leaf that serves, and the one that would after a rollback; both with their own keys."""
        serving, kept = self.serving(), self.kept()
        assert serving.certificate is not None
        assert kept is not None
        assert kept.certificate is not None
        assert serving.certificate.spki_sha256 == serving.key_spki_sha256
        assert kept.certificate.spki_sha256 == kept.key_spki_sha256
        return serving.certificate.sha256, kept.certificate.sha256


def test_rollback_exchanges_the_pairs_and_the_next_one_takes_it_back() -> None:
    """Nothing is lost on the way back, and nothing on the way forward."""
    stage = Stage()
    first, second = stage.first.sha256, stage.second.sha256
    assert stage.leaves() == (second, first)
    stage.roll_back()
    assert stage.leaves() == (first, second)
    assert (stage.serving().handled_rollback, stage.serving().hold) == ("1", HELD)
    stage.roll_back(desired(rollback_requested="2"))
    assert stage.leaves() == (second, first)
    assert set(stage.cluster.objects[path("mail", "mx-tls-previous")]["data"]) == {"tls.crt", "tls.key"}


def test_pair_comes_back_with_its_origin_and_the_wishes_that_were_heeded() -> None:
    """Where it came from decides over its renewal; a renewal that was asked for once is not made again."""
    cluster, made = FakeCluster(), [new_key(PrivateKeyPolicy()) for _ in range(2)]
    elsewhere = replace(desired().acme, server="https://former.test/directory", profile="classic")
    absent = ServingSecret(exists=False)
    first = Secrets(cluster).store(desired(acme=elsewhere), self_signed(made[0]), made[0], absent)
    Secrets(cluster).store(desired(renew_requested="7"), self_signed(made[1]), made[1], first)
    wants, serving = desired(renew_requested="7", rollback_requested="1"), Secrets(cluster).serving(desired())
    kept = pairs_of(cluster).read(wants, serving)
    assert kept is not None
    restored = pairs_of(cluster).exchange(wants, serving, kept, HELD)
    assert (restored.acme_server, restored.profile) == (elsewhere.server, "classic")
    assert restored.handled_renew == "7"
    assert replace(Secrets(cluster).serving(wants), key=None) == replace(restored, key=None)


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_crash_between_the_writes_loses_no_pair(writes: int) -> None:
    """The next process ends what was begun, whichever write was the last; then all can be taken back."""
    stage = Stage()
    first, second = stage.first.sha256, stage.second.sha256
    stage.cluster.writes_left = writes
    with pytest.raises(Unreachable):
        stage.roll_back()
    stage.cluster.writes_left = inf
    assert set(stage.leaves()) == {first, second}
    stage.roll_back()
    assert stage.leaves() == (first, second)
    stage.roll_back(desired(rollback_requested="2"))
    assert stage.leaves() == (second, first)


def test_next_certificate_ends_the_hold() -> None:
    """The hold is about the certificate that was rolled back to."""
    stage, key = Stage(), new_key(PrivateKeyPolicy())
    stage.roll_back()
    Secrets(stage.cluster).store(REQUESTED, self_signed(key), key, stage.serving())
    assert (stage.serving().hold, stage.serving().handled_rollback) == (None, "1")


def test_broken_pair_does_not_take_the_kept_ones_place() -> None:
    """What cannot serve is not worth keeping; the way back is a way out of it."""
    stage = Stage()
    stage.cluster.objects[path("mail", "mx-tls")]["data"]["tls.key"] = "bm8ga2V5"
    stage.roll_back()
    assert stage.leaves() == (stage.first.sha256, stage.first.sha256)


def test_refused_wish_is_heeded_and_nothing_else_is_written() -> None:
    """A renewal, weeks later, must not make the old wanted come true."""
    stage = Stage()
    before = stage.serving()
    handled = pairs_of(stage.cluster).refuse(REQUESTED, before)
    assert handled.handled_rollback == "1"
    assert replace(handled, key=None) == replace(stage.serving(), key=None)
    assert replace(handled, handled_rollback=None, resource_version=before.resource_version) == before


@pytest.mark.parametrize("note", ["", "{", "[]", '{"until": "soon", "generation": 1}', '{"until": 7}'])
def test_hold_that_cannot_be_read_is_none(note: str) -> None:
    """Who edits our annotations does not stop the pass."""
    stage = Stage()
    stage.cluster.objects[path("mail", "mx-tls")]["metadata"]["annotations"]["mailtls.dev/rolled-back"] = note
    assert stage.serving().hold is None


@pytest.mark.parametrize("planted", ["another pair", "pair in exchange", "origin", "no seal", "copied from a sibling"])
def test_pair_that_somebody_else_put_into_the_previous_secret_is_not_rolled_back_to(planted: str) -> None:
    """Whoever may write Secrets in the namespace would choose what serves; the message says that it is not ours."""
    stage, name = Stage(), path("mail", "mx-tls-previous")
    kept = stage.cluster.objects[name]
    if planted == "copied from a sibling":
        sibling = desired(key=Key("mail", "other"), uid="uid-2", secret_name="other-tls")
        secrets, key = Secrets(stage.cluster), new_key(PrivateKeyPolicy())
        first = secrets.store(sibling, self_signed(key), key, ServingSecret(exists=False))
        secrets.store(sibling, self_signed(key), key, first)
        theirs = stage.cluster.objects[path("mail", "other-tls-previous")]
        kept["data"], kept["metadata"]["annotations"] = theirs["data"], theirs["metadata"]["annotations"]
    elif planted == "another pair":
        kept["data"] = dict(stage.cluster.objects[path("mail", "mx-tls")]["data"])
    elif planted == "pair in exchange":
        kept["data"]["displaced.json"] = b64encode(b"{}").decode()
    elif planted == "origin":
        kept["metadata"]["annotations"]["mailtls.dev/acme-server"] = "https://elsewhere.test/directory"
    else:
        del kept["metadata"]["annotations"]["mailtls.dev/pair-seal"]
    found = stage.kept()
    assert found is not None
    assert found.certificate is None
    fault = fault_of(found, a_context(REQUESTED), NOW)
    assert fault is not None
    assert "somebody else wrote into it" in fault.message
