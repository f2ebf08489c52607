"""The Secret holds what was stored, or is put right: decisions, and whole passes over one that somebody wrote."""

from base64 import b64encode
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from builders.contexts import a_context, next_step, wanting
from builders.stories import NOW, certificate, desired, schedule, secret, staged
from builders.whole_reconcile import MX, PATH, WholeReconcile
from e2e.other_authority import issued
from mailtls.api.resource import ADOPT, labels_of
from mailtls.api.status import HistoryEntry, Status, Stored
from mailtls.context import Context
from mailtls.issuance.decide import CloseOrder, StageKey
from mailtls.issuance.guard import (
    RestoreSecret,
    SaveCopy,
    is_replaced,
    lacks_a_copy,
    needs_restoring,
    restored,
    to_remember,
)
from mailtls.issuance.policy import issuance_is_due, usable
from mailtls.issuance.storage import AdoptSecret
from mailtls.kube.pairs import path
from mailtls.kube.snapshot import ServingSecret
from mailtls.pki.certificate import parse_chain
from mailtls.reasons.reason import Reason
from mailtls.rollout.rollback import RollBack
from mailtls.step import Rest

OURS: dict[str, Any] = {"is_ours": True, "name": "mx-tls", "uid": "u"}
OTHER = certificate(sha256="ee" * 32, serial_number="0e", issuer="CN=Somebody")
SECRET = path("mail", "mx-tls")


def stored(**changes: Any) -> Context:
    """What was stored serves: the status knows it, and there is a copy."""
    status = Status(schedule=schedule(), stored=Stored("mx-tls", "u", "aa" * 32))
    return a_context(**{"status": status, "secret": secret(**OURS), "copy": secret(), **changes})


def replaced(**changes: Any) -> Context:
    """Somebody wrote another pair."""
    return stored(**{"secret": secret(certificate=OTHER, writer="kubectl-edit", **OURS), **changes})


@pytest.mark.parametrize(
    "found",
    [
        secret(certificate=OTHER, **OURS),
        secret(certificate=replace(OTHER, self_signed=True), **OURS),
        secret(certificate=None, **OURS),
        secret(key_spki_sha256="00" * 32, **OURS),
        secret(key_spki_sha256=None, **OURS),
        secret(certificate=certificate(chain_pem=certificate().leaf_pem), **OURS),
    ],
    ids=["another CA, or an older one", "self-signed", "no certificate", "another key", "no key", "a shorter chain"],
)
def test_anything_but_what_was_stored_is_put_right_first(found: ServingSecret) -> None:
    """Before anything else is thought of: nothing is ordered for it, and no pod is told of it."""
    now = stored(secret=found)
    assert is_replaced(now)
    assert next_step(now, NOW) == RestoreSecret()
    assert not usable(now, NOW)
    assert to_remember(now) == now.snapshot.status.stored


def test_what_was_stored_is_left_alone() -> None:
    """No write, no word."""
    assert isinstance(next_step(stored(), NOW), Rest)
    assert to_remember(stored()) == Stored("mx-tls", "u", "aa" * 32)


@pytest.mark.parametrize(
    "now",
    [
        replaced(status=Status(), copy=None),
        replaced(status=Status(stored=Stored("other-tls", "u", "aa" * 32)), copy=None),
        replaced(secret=ServingSecret(exists=False)),
        replaced(secret=secret(certificate=OTHER)),
        replaced(status=Status(stored=Stored("mx-tls", "u", "ee" * 32)), staged=staged(spki_sha256="bb" * 32)),
        replaced(copy=secret(certificate=OTHER)),
    ],
    ids=["nothing known", "another name", "no Secret", "not ours", "only copied yet", "not reported yet"],
)
def test_what_cannot_be_compared_or_was_just_stored_is_not_taken_for_replaced(now: Context) -> None:
    """A crash between the writes of a copy, the Secret and the status costs nothing."""
    assert not is_replaced(now)


def test_without_a_copy_a_new_certificate_is_ordered_and_nothing_rolls() -> None:
    """The finding names who wrote it; the pair is not what any pod should load."""
    now = replaced(copy=None)
    assert not needs_restoring(now)
    step = next_step(now, NOW)
    assert isinstance(step, StageKey)
    assert step.due.reason is Reason.SECRET_REPLACED
    assert "kubectl-edit" in step.due.message
    assert not usable(now, NOW)


def test_labels_that_somebody_removed_are_put_back() -> None:
    """The Secret is known by its uid."""
    assert next_step(stored(secret=secret(lacks_labels=True, **OURS)), NOW) == RestoreSecret()


@pytest.mark.parametrize("changed", [{"acme_server": None}, {"profile": "x"}, {"adopted": None}])
def test_annotations_that_say_where_it_came_from_are_put_back(changed: dict[str, Any]) -> None:
    """Else a new certificate would be ordered; a line break in the chain is nothing."""
    origin = {"acme_server": "https://ca.test/directory", "profile": "classic", "adopted": "ee" * 32}
    now = stored(secret=secret(**OURS, **origin | changed), copy=secret(**origin))
    assert not is_replaced(now)
    assert next_step(now, NOW) == RestoreSecret()
    pair = restored(now)
    assert {name: getattr(pair, name) for name in origin} == origin
    odd = certificate(chain_pem=f"{certificate().chain_pem}\n")
    assert isinstance(next_step(stored(secret=secret(certificate=odd, **OURS)), NOW), Rest)


@pytest.mark.parametrize("request_", ["renew", "rollback"])
def test_request_that_was_handled_is_not_forgotten_with_its_annotation(request_: str) -> None:
    """One that was handled since the copy was made stands."""
    handled = {f"handled_{request_}": "1"}
    lost = stored(copy=secret(**handled))
    assert next_step(wanting(desired(**{f"{request_}_requested": "1"}), lost), NOW) == RestoreSecret()
    assert getattr(restored(lost), f"handled_{request_}") == "1"
    later = stored(secret=secret(**OURS, **{f"handled_{request_}": "2"}), copy=secret(**handled))
    assert isinstance(next_step(wanting(desired(**{f"{request_}_requested": "2"}), later), NOW), Rest)


@pytest.mark.parametrize("wanted", ["rollback", "order"])
def test_copy_is_made_where_there_is_none_and_made_anew_where_it_is_of_another_pair(wanted: str) -> None:
    """Except while a pair that was copied already is about to be stored."""
    assert next_step(stored(copy=None), NOW) == SaveCopy()
    odd = stored(copy=secret(certificate=OTHER))
    assert next_step(odd, NOW) == SaveCopy()
    between = desired(rollback_requested="1") if wanted == "rollback" else desired()
    odd = odd if wanted == "rollback" else odd.with_snapshot(staged=staged())
    assert not lacks_a_copy(wanting(between, odd))
    assert isinstance(next_step(wanting(between, odd), NOW), RollBack | CloseOrder)


def test_rollback_by_request_comes_after_putting_right() -> None:
    """What somebody put in must not become the pair to go back to."""
    wants = desired(rollback_requested="1")
    assert next_step(wanting(wants, replaced()), NOW) == RestoreSecret()
    assert next_step(wanting(wants, stored()), NOW) == RollBack()


def test_certificate_that_is_named_for_adoption_is_let_in() -> None:
    """Whoever replaces it knowingly says so with the same edit; a bad one is put right all the same."""
    asked = secret(certificate=OTHER, is_requested=True, **OURS)
    assert next_step(stored(secret=asked), NOW) == AdoptSecret()
    bad = replace(asked, certificate=replace(OTHER, self_signed=True))
    assert next_step(stored(secret=bad), NOW) == RestoreSecret()
    assert issuance_is_due(stored(secret=secret(is_requested=True, **OURS)), NOW) is None


def test_secret_that_a_tool_writes_again_and_again_is_not_fought_over_for_ever() -> None:
    """It is left alone for a while, and nothing of it is rolled out."""
    often = tuple(HistoryEntry(NOW - timedelta(minutes=each), Reason.SECRET_REPLACED, "") for each in (9, 7, 5, 3, 1))
    fought = replaced(status=Status(stored=Stored("mx-tls", "u", "aa" * 32), history=often))
    assert next_step(fought, NOW) == Rest(NOW + timedelta(minutes=1))
    assert next_step(fought, NOW + timedelta(minutes=1)) == RestoreSecret()


def test_hand_made_replacement_is_undone_before_any_pod_is_told() -> None:
    """The very pair and labels come back, with an Event that names the field manager; the new one reaches no pod."""
    whole = WholeReconcile()
    whole.cluster.reloaded = ["postfix-0", "postfix-1", "postfix-2"]
    whole.run()
    good = deepcopy(whole.cluster.objects[SECRET])
    assert whole.condition("Ready")["status"] == "True"
    told = whole.cluster.objects[PATH]["status"]["secret"]
    fingerprint = parse_chain(whole.cluster.chain_pem).sha256
    known = {"name": "mx-tls", "uid": good["metadata"]["uid"], "fingerprintSHA256": fingerprint}
    assert told == known | {"verified": True, "provenIn": ["StatefulSet/postfix"]}

    whole.cluster.reloaded.clear()
    write_by_hand(whole)
    whole.cluster.objects[SECRET]["metadata"]["labels"] = {}
    whole.run()
    now = whole.cluster.objects[SECRET]
    assert now["data"] == good["data"]
    assert labels_of(MX).items() <= now["metadata"]["labels"].items()
    event = next(each for each in whole.events() if each["reason"] == "SecretReplaced")
    assert event["type"] == "Warning"
    assert "field manager kubectl-edit" in event["message"]
    assert "mailtls.dev/rollback" in event["message"]
    assert whole.cluster.objects[PATH]["status"]["history"][-1]["event"] == "SecretReplaced"
    assert whole.cluster.objects[PATH]["status"]["secret"] == told
    assert path("mail", "mx-tls-previous") not in whole.cluster.objects


def test_suspended_resource_says_so_and_touches_nothing() -> None:
    """What was stored is still known when it goes on."""
    whole = WholeReconcile()
    whole.cluster.reloaded = ["postfix-0", "postfix-1", "postfix-2"]
    whole.run()
    good = deepcopy(whole.cluster.objects[SECRET]["data"])
    write_by_hand(whole)
    odd = deepcopy(whole.cluster.objects[SECRET])
    whole.change(suspend=True)
    whole.run()
    assert whole.condition("Stored")["reason"] == "SecretReplaced"
    assert whole.cluster.objects[SECRET] == odd
    whole.change(suspend=False)
    whole.run()
    assert whole.cluster.objects[SECRET]["data"] == good


def test_pair_that_is_put_in_by_name_serves_on() -> None:
    """The annotation names the leaf; it is kept as what was stored from then on."""
    whole = WholeReconcile(pods=0)
    whole.run()
    written = write_by_hand(whole, ADOPT)
    whole.run()
    assert whole.cluster.objects[SECRET]["data"]["tls.crt"] == b64encode(written).decode()
    assert whole.cluster.objects[PATH]["status"]["history"][-1]["event"] == "SecretAdopted"
    assert whole.condition("Issued")["status"] == "True"
    whole.run()
    assert whole.cluster.objects[SECRET]["data"]["tls.crt"] == b64encode(written).decode()


def write_by_hand(whole: WholeReconcile, adopt: str = "") -> bytes:
    """Put a pair of another authority into the Secret as a person does; return its chain."""
    made = issued(["mx.example.test"])
    live = whole.cluster.objects[SECRET]
    live["data"] = {name: b64encode(value).decode() for name, value in made.items()}
    live["metadata"]["resourceVersion"] += "0"
    live["metadata"]["managedFields"] = [
        {"manager": "mailtls", "time": "2026-01-02T00:00:00Z", "fieldsV1": {"f:data": {}}},
        {"manager": "kubectl-edit", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:data": {}}},
    ]
    if adopt:
        live["metadata"]["annotations"][adopt] = parse_chain(made["tls.crt"].decode()).sha256
    whole.observer.note_event(MX)
    return made["tls.crt"]
