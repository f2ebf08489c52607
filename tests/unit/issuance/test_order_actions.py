"""The order's state machine: each situation by example, then whole lives of orders under capricious CAs."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailtls.issuance.acme.problem_document import Problem
from mailtls.issuance.order import (
    MOST_FINALIZE_TRIES,
    MOST_POLLS,
    Action,
    Download,
    Fail,
    Finalize,
    PollAuthorization,
    PollOrder,
    Present,
    RequestValidation,
    next_action,
)
from mailtls.issuance.order_state import AuthorizationState, ChallengeState, OrderState, Status, poll_pace
from mailtls.reasons.reason import Reason

_NOW = datetime(2026, 11, 24, tzinfo=UTC)
_NAMES = tuple(f"n{number}.example.com" for number in range(7))
_ACME = "urn:ietf:params:acme:error:"


def _challenge(number: int, status: str = Status.PENDING, kind: str = "dns-01") -> ChallengeState:
    return ChallengeState(kind, f"chall/{number}/{kind}", f"token{number}", status)


def _authorization(number: int, status: str = Status.PENDING, challenge: str = Status.PENDING) -> AuthorizationState:
    challenges = (_challenge(number, kind="http-01"), _challenge(number, challenge))
    return AuthorizationState(f"authz/{number}", status, f"n{number}.example.com", challenges=challenges)


def _order(status: str, *authorizations: AuthorizationState) -> OrderState:
    names = tuple(each.name for each in authorizations)
    return OrderState("order", status, names, authorizations, "finalize", expires_at=_NOW + timedelta(days=1))


def _next(order: OrderState, presented: frozenset[str] = frozenset(), kind: str | None = "dns-01") -> Action:
    return next_action(order, presented, lambda _name: kind, _NOW, _NAMES)


def _presented(count: int) -> frozenset[str]:
    return frozenset(_challenge(number).url for number in range(count))


def test_unread_order_is_read() -> None:
    """With the URL alone the order is read at once."""
    assert _next(OrderState("order")) == PollOrder(None)


def test_unread_authorizations_are_read_before_anything_is_presented() -> None:
    """All proofs are presented together, so every authorization must be known first."""
    order = _order(Status.PENDING, _authorization(0), AuthorizationState("authz/1"))
    assert _next(order) == PollAuthorization("authz/1", None)


def test_pending_authorizations_are_presented_all_at_once() -> None:
    """One action presents every proof that is not visible yet; valid authorizations need none."""
    order = _order(Status.PENDING, *(_authorization(number) for number in range(3)), _authorization(3, Status.VALID))
    action = _next(order, _presented(1))
    assert isinstance(action, Present)
    assert [proof.challenge.url for proof in action.challenges] == ["chall/1/dns-01", "chall/2/dns-01"]


def test_presented_challenges_are_answered_one_by_one() -> None:
    """Answers follow when all is visible, and skip what was answered."""
    order = replace(_order(Status.PENDING, _authorization(0), _authorization(1)), requested=_presented(1))
    assert _next(order, _presented(2)) == RequestValidation(_challenge(1))


def test_challenge_that_the_ca_looks_at_is_not_answered_again() -> None:
    """A processing challenge was answered before a crash; its proof is presented again and the CA polled."""
    order = _order(Status.PENDING, _authorization(0, challenge=Status.PROCESSING))
    assert isinstance(_next(order), Present)
    assert isinstance(_next(order, _presented(1)), PollAuthorization)


def test_first_poll_comes_after_milliseconds_and_the_earliest_first() -> None:
    """The authorization that is due first is polled first, not before its time."""
    soon = replace(_authorization(0), read_at=_NOW, polls=0)
    later = replace(_authorization(1), read_at=_NOW - timedelta(seconds=1), retry_at=_NOW + timedelta(seconds=3))
    order = replace(_order(Status.PENDING, later, soon), requested=_presented(2))
    assert _next(order, _presented(2)) == PollAuthorization("authz/0", _NOW + timedelta(milliseconds=20))
    waiting = replace(_order(Status.PENDING, later), requested=_presented(2))
    assert _next(waiting, _presented(2)) == PollAuthorization("authz/1", _NOW + timedelta(seconds=3))


def test_all_valid_authorizations_lead_to_finalize_without_a_read() -> None:
    """The order was last read as pending, but is ready: reading it again would cost a request."""
    assert _next(_order(Status.PENDING, _authorization(0, Status.VALID))) == Finalize()


def test_order_that_was_not_ready_is_polled_at_the_pace() -> None:
    """After orderNotReady the order is read until it is ready, without hurry."""
    order = _order(Status.PENDING, _authorization(0, Status.VALID))
    order = replace(order, finalize_tries=1, polls=1, read_at=_NOW)
    assert _next(order) == PollOrder(_NOW + poll_pace(1))


def test_ready_order_is_finalized_and_then_polled_and_downloaded() -> None:
    """The last three steps of every order."""
    assert _next(_order(Status.READY)) == Finalize()
    assert _next(replace(_order(Status.PROCESSING), read_at=_NOW)) == PollOrder(_NOW + poll_pace(0))
    assert _next(replace(_order(Status.VALID), certificate_url="cert")) == Download()


def test_valid_order_without_its_certificate_is_read_again() -> None:
    """Some CAs name the certificate later than the status."""
    assert isinstance(_next(_order(Status.VALID)), PollOrder)


def test_issued_order_is_downloaded_even_after_it_expired() -> None:
    """The certificate outlives the order's expiry."""
    order = replace(_order(Status.VALID), certificate_url="cert", expires_at=_NOW - timedelta(days=1))
    assert _next(order) == Download()


@pytest.mark.parametrize("status", ["expired", "deactivated", "revoked", "invalid", "sleeping"])
def test_dead_authorization_fails_and_names_the_name(status: str) -> None:
    """Statuses that the acme library cannot even read end the order in words."""
    action = _next(_order(Status.PENDING, _authorization(0), _authorization(1, status)))
    assert isinstance(action, Fail)
    assert action.finding.reason is Reason.ORDER_FAILED
    assert f'n1.example.com ended as "{status}"' in action.finding.message


@pytest.mark.parametrize("order_status", [Status.PENDING, Status.INVALID])
def test_failed_challenge_tells_more_than_its_order(order_status: str) -> None:
    """The challenge's problem is the reason, whether the order was read as invalid by then or not."""
    problem = Problem(_ACME + "connection", "10.0.0.1: Connection refused.")
    failed = replace(_challenge(0), status=Status.INVALID, problem=problem)
    authorization = replace(_authorization(0, Status.INVALID), challenges=(failed,))
    order = replace(_order(order_status, authorization), problem=Problem(_ACME + "malformed", "challenge failed"))
    action = _next(order)
    assert isinstance(action, Fail)
    assert action.finding.reason is Reason.CHALLENGE_FAILED
    assert action.finding.message == (
        "n0.example.com: Let the CA reach the name from the internet, it could not connect: "
        "10.0.0.1: Connection refused."
    )


def test_invalid_challenge_in_a_pending_authorization_fails() -> None:
    """A challenge that failed is not answered again, though its authorization is still pending."""
    action = _next(_order(Status.PENDING, _authorization(0, challenge=Status.INVALID)))
    assert isinstance(action, Fail)
    assert action.finding.reason is Reason.CHALLENGE_FAILED


def test_invalid_order_carries_the_cas_problem() -> None:
    """An order that failed at finalizing gives the CA's words under the right reason."""
    order = replace(_order(Status.INVALID), problem=Problem(_ACME + "caa", "CAA record for x.example.com forbids"))
    action = _next(order)
    assert isinstance(action, Fail)
    assert action.finding.reason is Reason.CAA_FORBIDS
    assert "x.example.com forbids." in action.finding.message


def test_order_of_unknown_status_fails() -> None:
    """A status that no RFC knows ends the order and is named."""
    action = _next(_order("deactivated"))
    assert isinstance(action, Fail)
    assert 'ended as "deactivated"' in action.finding.message


@pytest.mark.parametrize("status", [Status.PENDING, Status.READY, Status.PROCESSING, Status.VALID])
def test_expired_order_fails(status: str) -> None:
    """An order that is past its expiry is given up, wherever it was."""
    action = _next(replace(_order(status, _authorization(0)), expires_at=_NOW))
    assert isinstance(action, Fail)
    assert "expired" in action.finding.message


@pytest.mark.parametrize(
    "order",
    [
        replace(_order(Status.PROCESSING), polls=MOST_POLLS),
        replace(_order(Status.READY), finalize_tries=MOST_FINALIZE_TRIES),
        _order(Status.PENDING, replace(_authorization(0), polls=MOST_POLLS)),
    ],
)
def test_undecided_order_ends_at_last(order: OrderState) -> None:
    """Even without an expiry no order is followed for ever."""
    assert isinstance(_next(replace(order, expires_at=None)), Fail)


def test_name_without_solver_fails() -> None:
    """A name that no solver covers is named, with the setting."""
    action = _next(_order(Status.PENDING, _authorization(0)), kind=None)
    assert isinstance(action, Fail)
    assert action.finding.reason is Reason.NO_SOLVER
    assert "spec.acme.solvers" in action.finding.message


def test_wildcard_asks_for_a_solver_by_its_whole_name() -> None:
    """The solver is chosen for `*.name`, as ordered, and not for the bare name."""
    asked = []
    order = _order(Status.PENDING, replace(_authorization(0), wildcard=True))
    next_action(order, frozenset(), lambda name: asked.append(name) or "dns-01", _NOW, ["*.n0.example.com"])  # type: ignore[func-returns-value]
    assert set(asked) == {"*.n0.example.com"}


@pytest.mark.parametrize(
    ("name", "wildcard", "ordered"),
    [
        ("www.corp.example", False, "n0.example.com"),
        ("example.com", False, "n0.example.com"),
        ("sub.n0.example.com", False, "n0.example.com"),
        ("n0.example.com", True, "n0.example.com"),
        ("example.com", False, "*.n0.example.com"),
        ("a.n0.example.com", False, "*.n0.example.com"),
    ],
)
@pytest.mark.parametrize("status", [Status.PENDING, Status.PROCESSING, Status.VALID])
def test_authorization_for_another_name_ends_the_order_before_anything_is_published(
    name: str, wildcard: bool, ordered: str, status: str
) -> None:
    """Whoever answers it may prove a stranger's name to another CA."""
    strange = replace(_authorization(1, status), name=name, wildcard=wildcard)
    honest = replace(_authorization(0), name=ordered.removeprefix("*."), wildcard=ordered.startswith("*."))
    for authorizations in ((strange, honest), (honest, strange)):
        order = _order(Status.PENDING, *authorizations)
        action = next_action(order, frozenset(), lambda _name: "dns-01", _NOW, [ordered])
        assert isinstance(action, Fail)
        assert action.finding.reason is Reason.AUTHORIZATION_NOT_ORDERED
        assert name in action.finding.message


@pytest.mark.parametrize(("name", "wildcard"), [("N0.example.com", True), ("n0.example.com", False)])
def test_authorization_of_a_wildcard_may_lack_its_flag(name: str, wildcard: bool) -> None:
    """Names compare without case, and not every CA flags wildcards."""
    order = _order(Status.PENDING, replace(_authorization(0), name=name, wildcard=wildcard))
    action = next_action(order, frozenset(), lambda _name: "dns-01", _NOW, ["*.n0.example.com"])
    assert isinstance(action, Present)


def test_names_compare_without_case_and_order() -> None:
    """CAs shuffle and lower-case the names of an order."""
    order = OrderState("order", identifiers=("b.example.com", "a.example.com"))
    assert order.is_for(["A.example.com", "b.example.com"])
    assert not order.is_for(["a.example.com"])
    assert not order.is_for(["a.example.com", "b.example.com", "c.example.com"])


def test_pace_never_shrinks_and_is_patient_at_last() -> None:
    """Polls come quickly at first and once a minute after a hundred."""
    paces = [poll_pace(polls) for polls in range(200)]
    assert paces == sorted(paces)
    assert (paces[0], paces[-1]) == (timedelta(milliseconds=20), timedelta(minutes=1))


class _CapriciousCa:
    """Answers every request with something a CA could say, sometimes nonsense; keeps the rules that matter to us."""

    def __init__(self, seed: int, names: int, honesty: float) -> None:
        self.draw = random.Random(seed)
        self.honesty = honesty
        self.presented: frozenset[str] = frozenset()
        self.answered: set[str] = set()
        urls = tuple(AuthorizationState(f"authz/{number}") for number in range(names))
        expires = self.draw.choice([None, _NOW + timedelta(days=7)])
        self.order = OrderState("order", Status.PENDING, (), urls, "finalize", expires_at=expires)
        self.now = _NOW

    def perform(self, action: Action) -> None:
        """Do what the client asked for, in this CA's way, after the time it had to wait for."""
        match action:
            case Present(proofs):
                self.presented |= {proof.challenge.url for proof in proofs}
            case RequestValidation(challenge):
                assert challenge.url in self.presented
                self.answered.add(challenge.url)
                self.order = replace(self.order, requested=frozenset(self.answered))
            case PollAuthorization(url, not_before):
                self._pass(not_before)
                self._poll_authorization(url)
            case Finalize(not_before):
                self._pass(not_before)
                known = {each.status for each in self.order.authorizations}
                assert self.order.status == Status.READY or known <= {Status.VALID}
                self._update_order([Status.PROCESSING, Status.VALID, Status.READY, Status.PENDING])
                self.order = replace(self.order, finalize_tries=self.order.finalize_tries + 1)
            case PollOrder(not_before):
                self._pass(not_before)
                self._update_order([self.order.status, Status.VALID])

    def _pass(self, not_before: datetime | None) -> None:
        self.now = max(self.now, not_before or self.now)

    def _poll_authorization(self, url: str) -> None:
        states = tuple(self._polled(each) if each.url == url else each for each in self.order.authorizations)
        self.order = replace(self.order, authorizations=states)

    def _polled(self, known: AuthorizationState) -> AuthorizationState:
        number = int(known.url.split("/")[1])
        decided = self.draw.choice([Status.PENDING, Status.VALID])
        status = decided if self.draw.random() < self.honesty else self.draw.choice([*_STATUSES])
        challenge = self.draw.choice([Status.PENDING, Status.PROCESSING])
        retry_at = self.draw.choice([None, self.now - timedelta(days=1), self.now + timedelta(seconds=3)])
        fresh = _authorization(number, status, challenge)
        return replace(fresh, polls=known.polls + 1, read_at=self.now, retry_at=retry_at)

    def _update_order(self, likely: list[str]) -> None:
        status = self.draw.choice(likely) if self.draw.random() < self.honesty else self.draw.choice([*_STATUSES])
        certificate = self.draw.choice([None, "cert"]) if status == Status.VALID else None
        polls = self.order.polls + 1
        self.order = replace(self.order, status=status, certificate_url=certificate, read_at=self.now, polls=polls)


_STATUSES = [*Status, "expired", "deactivated", "revoked", "nonsense"]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    names=st.integers(0, 6),
    honesty=st.floats(0.5, 1.0),
    solver=st.sampled_from(["dns-01", "http-01"]),
)
def test_every_order_ends_and_keeps_the_rules(seed: int, names: int, honesty: float, solver: str) -> None:
    """Whatever the CA says: orders end, nothing hidden is answered, nothing unproven is finalized."""
    ca = _CapriciousCa(seed, names, honesty)
    for _ in range(50_000):
        action = next_action(ca.order, ca.presented, lambda _name: solver, ca.now, _NAMES)
        if isinstance(action, Download | Fail):
            break
        ca.perform(action)
    else:
        pytest.fail("the order never ended")
    if isinstance(action, Download):
        assert ca.order.status == Status.VALID


@pytest.mark.parametrize("stubborn", [Status.PENDING, Status.READY, Status.PROCESSING, Status.VALID, Status.UNREAD])
def test_stubborn_ca_is_not_hammered(stubborn: str) -> None:
    """A CA that repeats one answer without an expiry gets at most some hundred requests a day, and an end."""
    ca = _CapriciousCa(1, 1, 1.0)
    ca.order = replace(ca.order, expires_at=None, authorizations=(_authorization(0, Status.VALID),))
    steps = 0
    while not isinstance(action := next_action(ca.order, frozenset(), lambda _name: "dns-01", ca.now, _NAMES), Fail):
        ca.perform(action)
        ca.order = replace(ca.order, status=stubborn, certificate_url=None)
        steps += 1
        assert steps <= MOST_POLLS + 2
    assert ca.now - _NOW > timedelta(seconds=30)


def test_healthy_order_takes_the_fewest_reads() -> None:
    """With a CA that decides at once, n names cost n reads, n answers, n polls, one finalize and one poll."""
    ca = _CapriciousCa(1, 3, 1.0)
    counted: dict[str, int] = {}
    while not isinstance(
        action := next_action(ca.order, ca.presented, lambda _name: "dns-01", ca.now, _NAMES), Download
    ):
        assert not isinstance(action, Fail)
        counted[type(action).__name__] = counted.get(type(action).__name__, 0) + 1
        match action:
            case PollAuthorization(url):
                number = int(url.split("/")[1])
                status = Status.VALID if _challenge(number).url in ca.answered else Status.PENDING
                states = (
                    _authorization(number, status) if each.url == url else each for each in ca.order.authorizations
                )
                ca.order = replace(ca.order, authorizations=tuple(states))
            case Finalize():
                ca.order = replace(ca.order, status=Status.PROCESSING, finalize_tries=1)
            case PollOrder():
                ca.order = replace(ca.order, status=Status.VALID, certificate_url="cert")
            case _:
                ca.perform(action)
    assert counted == {"PollAuthorization": 6, "Present": 1, "RequestValidation": 3, "Finalize": 1, "PollOrder": 1}
