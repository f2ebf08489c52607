"""No field of a room's state can be forgotten: each says what has to be the same for it to be kept, and is."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from itertools import chain, combinations
from typing import Any, Final

import pytest

from builders.contexts import a_context, changed
from builders.endpoints import POSTFIX
from builders.stories import DAY, NOW, attempts, certificate, desired, schedule, secret, staged
from mailtls.api.spec import Desired
from mailtls.api.state import Failure, Same, carry, kept_while
from mailtls.api.status import DomainReport, HistoryEntry
from mailtls.context import Context, carried
from mailtls.domains.state import DomainCheck, DomainsState
from mailtls.external.state import ExternalState, carry_external
from mailtls.issuance.order_state import OrderState
from mailtls.issuance.state import IssuanceState, carry_issuance
from mailtls.kube.snapshot import ObjectVersion, Snapshot
from mailtls.maildomain.facts import MailDomain
from mailtls.probe.target import Depth, Endpoint, Target
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.state import RolloutState, carry_rollout
from mailtls.rollout.steps import RollProgress
from mailtls.rollout.turns import Turn
from mailtls.verification.state import LoginRefusal, VerificationState, carry_verification

LATER: Final = NOW + DAY
URL: Final = "https://ca.test/order/1"
TARGET: Final = Target("198.51.100.1", POSTFIX.ports[0], "mx.example.test", pod="postfix-0")
UNTRUSTED: Final = Endpoint(TARGET, NOW, (Finding(Reason.UNTRUSTED_ROOT, "Unknown root."),))
LOGIN: Final = Endpoint(TARGET, NOW, (Finding(Reason.AUTH_FAILED, "No."),), "aa" * 32)
LASTING: Final = Failure(Finding(Reason.DNS_UPDATE_REFUSED, "No."), LATER, lasts=True)
ENTRY: Final = HistoryEntry(NOW, Reason.ISSUED, "Issued.", "0a")
DOMAIN: Final = MailDomain("example.test")

EXAMPLES: Final[dict[type, dict[str, Any]]] = {
    IssuanceState: {
        "order": OrderState(URL, "pending"),
        "presented": frozenset({"a"}),
        "published": frozenset({"a", "b"}),
        "presenting_since": NOW,
        "hidden_by": Finding(Reason.DNS_UNREACHABLE, "Gone."),
        "visibility_checks": 3,
        "was_resumed": True,
        "wait_until": LATER,
        "is_fresh_intent": True,
        "chain": certificate(),
        "schedule": schedule(),
        "renewal_info_due_at": LATER,
        "issued": ENTRY,
        "refused": ENTRY,
        "transient_failures": 2,
        "failure": LASTING,
        "close_failure": LASTING,
        "leftovers_due_at": LATER,
        "leftover": staged(),
        "dependencies": (ObjectVersion("/tsig", "1"),),
        "dependencies_due_at": LATER,
    },
    RolloutState: {
        "progress": RollProgress(NOW, timedelta(minutes=10)),
        "failure": Failure(Finding(Reason.RELOAD_FAILED, "exit code 1"), LATER),
        "failures": 2,
        "reverted": frozenset({"Deployment/relay"}),
        "turn": Turn(is_granted=True),
        "no_way_back": Finding(Reason.ROLLBACK_REFUSED, "It does not exist."),
    },
    VerificationState: {
        "endpoints": (LOGIN,),
        "set_aside": (LOGIN,),
        "shown": {TARGET: LOGIN},
        "failing_since": {TARGET: NOW},
        "routes": (TARGET,),
        "probed_at": NOW,
        "probed_depth": Depth.DEEP,
        "roots": ObjectVersion("/roots", "1"),
        "roots_due_at": LATER,
        "deep_probed_at": NOW,
        "handled_probe": "deep 1",
        "login_refusals": (LoginRefusal(TARGET, Finding(Reason.AUTH_FAILED, "No."), NOW, "1"),),
    },
    ExternalState: {
        "examined_at": NOW,
        "refusal": Finding(Reason.CERTIFICATE_EXPIRED, "It expired."),
        "again_at": LATER,
        "is_trial": True,
    },
    DomainsState: {
        "reports": (DomainReport("example.test", NOW),),
        "last_check": DomainCheck((DOMAIN,), frozenset(), None, LATER),
    },
}
"""A value unlike the default for each field of each state; a new field needs one here."""

EVERY: Final = [(state, each.name) for state in EXAMPLES for each in fields(state)]


def every_set() -> Iterator[frozenset[Same]]:
    """Return all combinations of what may be the same."""
    sizes = (combinations(Same, size) for size in range(len(Same) + 1))
    return map(frozenset, chain.from_iterable(sizes))


@pytest.mark.parametrize(("state", "name"), EVERY)
def test_field_of_a_state_is_carried_over_exactly_while_what_it_names_is_the_same(state: type, name: str) -> None:
    """Whatever else changed or did not."""
    before, fresh = state(**EXAMPLES[state]), state()
    assert getattr(before, name) != getattr(fresh, name)
    needed = kept_while(before, name)
    for same in every_set():
        expected = before if needed is not None and needed <= same else fresh
        assert getattr(carry(before, fresh, same), name) == getattr(expected, name)


def test_no_room_of_the_context_is_left_out() -> None:
    """A new room brings its own state, and an example of each of its fields."""
    context = Context(desired())
    rooms = {type(getattr(context, each.name)) for each in fields(context)} - {Desired, Snapshot}
    assert rooms == set(EXAMPLES)


def test_state_with_a_field_that_declares_nothing_cannot_be_carried_over() -> None:
    """Who adds a field has to decide."""

    @dataclass(frozen=True)
    class Forgetful:
        told: bool = False

    with pytest.raises(KeyError):
        carry(Forgetful(told=True), Forgetful(), frozenset(Same))


def test_every_room_keeps_everything_but_what_belongs_to_one_reconcile_while_all_is_the_same() -> None:
    """No room takes more away by itself than its fields declare."""
    snapshot = a_context(staged=staged(order_url=URL)).snapshot
    known = IssuanceState(**EXAMPLES[IssuanceState] | {"is_fresh_intent": False})
    found = carry_issuance(known, IssuanceState(), snapshot, frozenset(Same), NOW)
    assert found == replace(known, chain=None, close_failure=None)
    intent = carry_issuance(
        IssuanceState(is_fresh_intent=True), IssuanceState(), a_context(staged=staged()).snapshot, frozenset(Same), NOW
    )
    assert intent.is_fresh_intent
    rolling = RolloutState(**EXAMPLES[RolloutState])
    assert carry_rollout(rolling, RolloutState(), frozenset(Same), NOW) == replace(rolling, turn=None)
    external = ExternalState(**EXAMPLES[ExternalState])
    assert carry_external(external, ExternalState(), frozenset(Same)) == external
    verified = VerificationState(**EXAMPLES[VerificationState] | {"failing_since": {}, "roots": None})
    assert carry_verification(verified, VerificationState(), frozenset(Same)) == verified


def test_time_of_renewal_that_was_drawn_last_counts_though_it_was_never_reported() -> None:
    """A reconcile that ends before its report leaves an earlier time in the status, such as the end of a hold."""
    serving, drawn, reported = a_context().snapshot, schedule(), schedule(renewal_at=LATER)
    known, fresh = IssuanceState(schedule=drawn), IssuanceState(schedule=reported)
    assert carry_issuance(known, fresh, serving, frozenset(), NOW).schedule == drawn
    assert carry_issuance(IssuanceState(), fresh, serving, frozenset(), NOW).schedule == reported
    of_another = IssuanceState(schedule=replace(drawn, sha256="ab" * 32))
    assert carry_issuance(of_another, fresh, serving, frozenset(), NOW).schedule == reported
    assert carry_issuance(of_another, IssuanceState(), serving, frozenset(), NOW) == replace(
        of_another, renewal_info_due_at=NOW, leftovers_due_at=NOW
    )


def test_no_room_keeps_anything_but_what_outlives_every_change_when_nothing_is_the_same() -> None:
    """A changed spec, another certificate and another order leave only what is about the process."""
    issuance = IssuanceState(**EXAMPLES[IssuanceState])
    found = carry_issuance(issuance, IssuanceState(), a_context().snapshot, frozenset(), NOW)
    outlives = {
        name: value for name, value in EXAMPLES[IssuanceState].items() if kept_while(issuance, name) == frozenset()
    }
    assert found == IssuanceState(**outlives, renewal_info_due_at=NOW, leftovers_due_at=NOW)
    rolling = RolloutState(**EXAMPLES[RolloutState])
    assert carry_rollout(rolling, RolloutState(), frozenset(), NOW) == RolloutState()
    external = ExternalState(**EXAMPLES[ExternalState])
    assert carry_external(external, ExternalState(), frozenset()) == ExternalState()
    verified = VerificationState(**EXAMPLES[VerificationState])
    always = {
        name: value for name, value in EXAMPLES[VerificationState].items() if kept_while(verified, name) == frozenset()
    }
    assert carry_verification(verified, VerificationState(), frozenset()) == VerificationState(**always)


def test_another_certificate_resets_what_is_about_the_one_before_and_nothing_else() -> None:
    """Pods are read, reloaded and probed anew; requests that were handled stay handled."""
    every = {name: value for values in EXAMPLES.values() for name, value in values.items() if name != "failure"}
    failures = {"issuance_failure": LASTING, "rollout_failure": EXAMPLES[RolloutState]["failure"]}
    before = changed(a_context(workloads=()), **every, **failures)
    after = before.about_another_certificate()
    assert after.snapshot == replace(before.snapshot, workloads=None)
    assert (after.issuance, after.domains, after.external) == (before.issuance, before.domains, before.external)
    for part in ("rollout", "verification"):
        was, now = getattr(before, part), getattr(after, part)
        for each in fields(was):
            is_about_it = Same.CERTIFICATE in (kept_while(was, each.name) or ())
            expected = getattr(type(was)(), each.name) if is_about_it else getattr(was, each.name)
            assert getattr(now, each.name) == expected


def test_closed_order_leaves_nothing_of_its_own_behind() -> None:
    """Neither its challenges nor its chain; what the process knows besides stays."""
    before = IssuanceState(**EXAMPLES[IssuanceState])
    after = before.closed()
    for each in fields(before):
        is_of_the_order = Same.ORDER in (kept_while(before, each.name) or ())
        is_reset = is_of_the_order or each.name in {"chain", "transient_failures"}
        expected = getattr(IssuanceState() if is_reset else before, each.name)
        assert getattr(after, each.name) == expected


def kept_names(before: Context, fresh: Context, *, has_rolled_out: bool = False) -> set[str]:
    """Return which fields the next reconcile has from the one before."""
    after = carried(before, fresh, NOW, has_rolled_out=has_rolled_out)
    return {
        f"{part}.{each.name}"
        for part in ("issuance", "rollout", "verification", "domains", "external")
        for each in fields(getattr(before, part))
        if getattr(getattr(after, part), each.name) == getattr(getattr(before, part), each.name)
        and getattr(getattr(before, part), each.name) != getattr(getattr(fresh, part), each.name)
    }


def known() -> Context:
    """A context in which every field is unlike its default."""
    every = {name: value for values in EXAMPLES.values() for name, value in values.items()}
    del every["failure"]
    failures = {"issuance_failure": LASTING, "rollout_failure": EXAMPLES[RolloutState]["failure"]}
    context = a_context(status=a_context().snapshot.status, reported=a_context().snapshot.status)
    return changed(context, **every, **failures, staged=staged(order_url=URL))


def read_again(**changes: Any) -> Context:
    """What the next reconcile reads."""
    return replace(Context(desired()), snapshot=replace(known().snapshot, **changes))


def test_each_change_between_two_reconciles_is_recognized() -> None:
    """The generation of the spec, the Secret, its certificate, a request, the staged key, the end of a rollout."""
    before, again = known(), read_again()
    unchanged = kept_names(before, again)
    lost = {
        "spec": unchanged - kept_names(before, replace(again, desired=desired(generation=2))),
        "request": unchanged - kept_names(before, replace(again, desired=desired(renew_requested="1"))),
        "certificate": unchanged - kept_names(before, read_again(secret=secret(certificate=certificate(sha256="ff")))),
        "key": unchanged - kept_names(before, read_again(staged=staged(order_url=URL, staged_at=LATER))),
        "order": unchanged - kept_names(before, read_again(staged=staged(order_url=f"{URL}0"))),
        "secret": unchanged - kept_names(before, read_again(secret=secret(resource_version="2"))),
        "rollout": unchanged - kept_names(before, again, has_rolled_out=True),
    }
    rollout = {"rollout.progress", "rollout.failure", "rollout.failures"}
    order = {f"issuance.{name}" for name in ("presented", "published", "presenting_since", "hidden_by", "order")}
    order |= {f"issuance.{name}" for name in ("visibility_checks", "was_resumed", "wait_until")}
    assert lost["rollout"] == rollout
    assert lost["secret"] == {f"external.{each.name}" for each in fields(ExternalState)}
    assert lost["key"] == lost["order"] == order
    assert rollout | {"issuance.failure", "verification.probed_at", "verification.routes"} <= lost["spec"]
    assert {"issuance.failure", "issuance.wait_until"} <= lost["request"]
    assert rollout | {"verification.endpoints", "verification.probed_depth"} <= lost["certificate"]


def test_what_was_not_reported_is_kept_until_it_is() -> None:
    """A reconcile that was cut short after a failed attempt does not forget it, nor what it had to tell."""
    fresh = read_again()
    before = known().with_snapshot(status=replace(fresh.snapshot.status, attempts=attempts(), history=(ENTRY,)))
    after = carried(before, fresh, NOW, has_rolled_out=False)
    assert (after.snapshot.status.attempts, after.snapshot.status.history) == (attempts(), (ENTRY,))
    assert (after.issuance.issued, after.issuance.refused) == (ENTRY, ENTRY)
    told = before.reported({"kind": "MailServerTLS"}, before.snapshot.status)
    after = carried(told, fresh, NOW, has_rolled_out=False)
    assert after.snapshot == fresh.snapshot
    assert (after.issuance.issued, after.issuance.refused) == (None, None)


def test_roots_are_remembered_only_while_a_chain_is_not_trusted() -> None:
    """What was put right meanwhile is no reason to look again."""
    version = ObjectVersion("/roots", "1")
    doubtful = VerificationState(endpoints=(UNTRUSTED,), roots=version)
    assert carry_verification(doubtful, VerificationState(), frozenset(Same)).roots == version
    trusted = replace(doubtful, endpoints=(LOGIN,))
    assert carry_verification(trusted, VerificationState(), frozenset(Same)).roots is None
