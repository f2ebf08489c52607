"""An ACME order as last read from the CA (RFC 8555 section 7.1.3), with what is needed to ask again in time."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from mailtls.issuance.acme.problem_document import Problem

# First polls come quickly, because a CA near by decides within milliseconds; then growing to 5 s, at last 1 min.
_PACE_SECONDS = (0.02, 0.05, 0.1, 0.25, 0.5, 1, 1, 1, 1, 1, 2, 2)
_WORTH_TELLING = timedelta(seconds=15)
_STEADY_SECONDS, _STEADY_POLLS, _SLOW_SECONDS = 5, 100, 60


class Status(StrEnum):
    """Statuses of orders, authorizations and challenges; a CA may send others, so fields hold plain strings."""

    UNREAD = ""  # the CA gave the URL only
    PENDING = "pending"
    READY = "ready"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


def poll_pace(polls: int) -> timedelta:
    """Return how long to wait before the next poll after `polls` that saw no decision."""
    if polls < len(_PACE_SECONDS):
        return timedelta(seconds=_PACE_SECONDS[polls])
    return timedelta(seconds=_STEADY_SECONDS if polls < _STEADY_POLLS else _SLOW_SECONDS)


def _poll_at(read_at: datetime | None, retry_at: datetime | None, polls: int) -> datetime | None:
    if read_at is None:
        return retry_at
    paced = read_at + poll_pace(polls)
    return paced if retry_at is None else max(paced, retry_at)


@dataclass(frozen=True, slots=True)
class ChallengeState:
    """One way to validate an authorization (RFC 8555 section 8); `type` is `dns-01`, `http-01` or another."""

    type: str
    url: str
    token: str
    status: str = Status.PENDING
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class AuthorizationState:
    """What the CA knows of one name (RFC 8555 section 7.1.4).

    `name` comes without `*.`; `wildcard` says whether the order is for it. `polls` counts reads without a
    decision; `retry_at` is the CA's Retry-After. Times are UTC.
    """

    url: str
    status: str = Status.UNREAD
    name: str = ""
    wildcard: bool = False
    challenges: tuple[ChallengeState, ...] = ()
    expires_at: datetime | None = None
    retry_at: datetime | None = None
    read_at: datetime | None = None
    polls: int = 0

    @property
    def identifier(self) -> str:
        """The name as ordered, `*.` included."""
        return f"*.{self.name}" if self.wildcard else self.name

    @property
    def poll_at(self) -> datetime | None:
        """The earliest time to read it again, None for at once."""
        return _poll_at(self.read_at, self.retry_at, self.polls)

    def is_for_one_of(self, names: Iterable[str]) -> bool:
        """Whether its identifier is among `names` as ordered; without the wildcard flag it may be a wildcard's base.

        Some CAs leave the flag out (RFC 8555 section 7.1.4), but none may widen a plain name to a wildcard.
        """
        ordered = {name.lower() for name in names}
        return self.identifier.lower() in ordered or (not self.wildcard and f"*.{self.name.lower()}" in ordered)

    def challenge(self, challenge_type: str) -> ChallengeState | None:
        """Return its challenge of a type, None when the CA offers none."""
        return next((offered for offered in self.challenges if offered.type == challenge_type), None)


@dataclass(frozen=True, slots=True)
class OrderState:
    """One order; the URL alone is enough to read all of it again.

    `requested` holds the URLs of the challenges that the CA was asked to validate: some CAs leave such a challenge
    `pending`. `finalize_tries` counts finalize requests in this process. `profile` is None where the CA does not say.
    Times are UTC.
    """

    url: str
    status: str = Status.UNREAD
    identifiers: tuple[str, ...] = ()
    authorizations: tuple[AuthorizationState, ...] = ()
    finalize_url: str = ""
    certificate_url: str | None = None
    expires_at: datetime | None = None
    retry_at: datetime | None = None
    problem: Problem | None = None
    profile: str | None = None
    requested: frozenset[str] = field(default_factory=frozenset)
    read_at: datetime | None = None
    polls: int = 0
    finalize_tries: int = 0

    @property
    def poll_at(self) -> datetime | None:
        """The earliest time to read it again, None for at once."""
        return _poll_at(self.read_at, self.retry_at, self.polls)

    @property
    def is_open(self) -> bool:
        """Whether it can still become a certificate by what the client does."""
        return self.status in {Status.PENDING, Status.READY, Status.PROCESSING}

    @property
    def waits_until(self) -> datetime | None:
        """How long the CA asked to be left in peace, where that is longer than one polls by oneself."""
        every: tuple[OrderState | AuthorizationState, ...] = (self, *self.authorizations)
        asked = [each.retry_at for each in every if each.retry_at and each.read_at]
        longest = max(asked, default=None)
        read_at = max((each.read_at for each in every if each.read_at), default=None)
        return longest if longest and read_at and longest - read_at > _WORTH_TELLING else None

    def hurried(self) -> "OrderState":
        """Forget what the CA asked to be waited for: a person does not want to wait."""
        each_at_once = tuple(replace(each, retry_at=None, read_at=None) for each in self.authorizations)
        return replace(self, retry_at=None, read_at=None, authorizations=each_at_once)

    def with_authorization(self, authorization: AuthorizationState) -> "OrderState":
        """Return the order with what is known of one of its authorizations now."""
        replaced = (authorization if each.url == authorization.url else each for each in self.authorizations)
        return replace(self, authorizations=tuple(replaced))

    def may_be(self, not_before: datetime, profile: str | None) -> bool:
        """Whether it has not expired by a time, and is not known to be of another profile."""
        is_alive = self.expires_at is None or self.expires_at > not_before
        return is_alive and (profile is None or self.profile in {None, profile})

    def is_for(self, names: Iterable[str]) -> bool:
        """Whether it is an order of exactly `names`; DNS names compare without case."""
        return {name.lower() for name in self.identifiers} == {name.lower() for name in names}


@dataclass(frozen=True, slots=True)
class RenewalWindow:
    """When the CA wants the certificate renewed (RFC 9773 section 4.2); `start` is before `end`.

    `check_again_at` is the CA's Retry-After, held between a minute and a day. Times are UTC.
    """

    start: datetime
    end: datetime
    check_again_at: datetime
    explanation_url: str | None = None
