"""Validation of many names: what one step has no time for, the next one goes on with."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from builders.contexts import a_context, wanting
from builders.stories import desired, staged
from fakes.clock import WallClock
from mailtls.context import Context
from mailtls.issuance import validation
from mailtls.issuance.order import Fail, PendingChallenge, Present
from mailtls.issuance.order_state import AuthorizationState, ChallengeState
from mailtls.issuance.solvers.base import ChallengeProblem, ChallengeResponse, Visibility
from mailtls.issuance.validation import FOR_ONE_NAME, SPREAD_PATIENCE, Validation
from mailtls.reasons.reason import Finding, Reason

NAMES = tuple(f"mx{number}.example.test" for number in range(7))
HIDDEN = Finding(Reason.DNS_NOT_PROPAGATED, "Not there yet.")


class FarAway:
    """A DNS server of which each call takes ten seconds of the step's sixty."""

    def __init__(self) -> None:
        self.left = 0.0
        self.published: list[str] = []
        self.looked: list[str] = []
        self.hidden: set[str] = set()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Begin a step."""
        self.left = 60.0
        yield

    def present(self, _settings: object, response: ChallengeResponse) -> None:
        """Publish."""
        self.published.append(self._called(response.name))

    def is_visible(self, _settings: object, response: ChallengeResponse, _waited: timedelta) -> Visibility:
        """Look."""
        self.looked.append(self._called(response.name))
        return Visibility(HIDDEN if response.name in self.hidden else None)

    def _called(self, name: str) -> str:
        self.left -= 10
        if self.left < 0:
            raise ChallengeProblem(Finding(Reason.DNS_UNREACHABLE, "The time is over."), transient=True)
        return name


class Keys:
    """An account that knows what challenge responses hold."""

    def key_authorization(self, token: str) -> str:
        """For HTTP."""
        return token

    def dns01_value(self, token: str) -> str:
        """For DNS."""
        return token


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FarAway:
    """The server, whose time is the step's."""
    made = FarAway()
    monkeypatch.setattr(validation, "seconds_left", lambda: made.left)
    return made


def steps(server: FarAway, known: Context, clock: WallClock | None = None) -> Iterator[Context | Fail]:
    """Take one step after the other, each with what the one before left, as the plan has them."""
    solvers: Any = server
    account: Any = Keys()
    hands = Validation(solvers, clock or WallClock())
    wanted = desired(dns_names=NAMES)
    for _ in range(20):
        left = tuple(_pending(name) for name in NAMES if f"https://ca.test/{name}" not in known.issuance.presented)
        if not left:
            return
        with server.step():
            found: Any = hands.present(wanting(wanted, known), account, Present(left))
        yield found
        known = found


def _pending(name: str) -> PendingChallenge:
    challenge = ChallengeState("dns-01", f"https://ca.test/{name}", name)
    return PendingChallenge(
        AuthorizationState(f"https://ca.test/a/{name}", "pending", name, challenges=(challenge,)), challenge
    )


def test_names_that_take_longer_than_a_step_are_all_validated_in_the_end(server: FarAway) -> None:
    """Each is published once, and looked at until it is seen once: no step begins anew what another has done."""
    *_, last = steps(server, a_context(staged=staged(names=NAMES)))
    assert isinstance(last, Context)
    assert len(last.issuance.presented) == len(NAMES)
    assert server.published == list(NAMES)
    assert sorted(server.looked) == sorted(NAMES)
    assert FOR_ONE_NAME < 60 / 2, "else a step deals with one name alone"


def test_names_that_stay_hidden_are_waited_for_and_given_up(server: FarAway) -> None:
    """However long the looks take, there are pauses between them, and an end."""
    clock = WallClock()
    server.hidden = set(NAMES)
    story = steps(server, a_context(staged=staged(names=NAMES)), clock)
    waiting = next(each for each in story if isinstance(each, Context) and each.issuance.visibility_checks)
    assert waiting.issuance.wait_until is not None
    clock.advance(2 * SPREAD_PATIENCE)
    given_up = next(steps(server, waiting.with_issuance(wait_until=None), clock))
    assert given_up == Fail(HIDDEN)
