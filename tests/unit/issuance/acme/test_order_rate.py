"""Orders that wait in line for the limit of an account."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.stories import NOW
from fakes.clock import WallClock
from mailtls.api.reading.acme import SHORT_NAMES
from mailtls.issuance.acme.order_rate import (
    KNOWN,
    MOST_WAITING,
    Bucket,
    Budget,
    BudgetState,
    OrderRateLimiter,
    parse_budget,
)
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.reasons.reason import Reason

HOUR = timedelta(hours=1)
LETS_ENCRYPT = Budget(300, 3 * HOUR)


def turns(budget: Budget, arrivals: list[timedelta]) -> list[datetime]:
    """When each of those who arrive may order."""
    bucket, found = Bucket(budget), []
    for arrival in arrivals:
        bucket, turn_at = bucket.taken(NOW + arrival)
        found.append(turn_at)
    return found


def test_thousand_at_once_are_served_as_the_limit_allows() -> None:
    """300 at once, the rest one every 36 seconds, and none twice at the same time."""
    found = turns(LETS_ENCRYPT, [timedelta()] * 1000)
    assert found[:300] == [NOW] * 300
    assert found[300:] == [NOW + (number + 1) * timedelta(seconds=36) for number in range(700)]


@given(st.integers(1, 20), st.lists(st.floats(0, 10_000), max_size=80))
def test_steady_refill_never_exceeds_twice_the_burst(orders: int, seconds: list[float]) -> None:
    """In any such time no more than the bucket and what flows into it meanwhile; nobody's turn is before he came."""
    budget = Budget(orders, HOUR)
    arrivals = sorted(timedelta(seconds=each) for each in seconds)
    found = turns(budget, arrivals)
    assert all(turn_at >= NOW + arrival for turn_at, arrival in zip(found, arrivals, strict=True))
    for begin in found:
        assert sum(begin <= each < begin + HOUR for each in found) <= 2 * orders


def test_pause_fills_the_bucket_again() -> None:
    """Who ordered long ago is not counted any more."""
    assert turns(Budget(2, HOUR), [timedelta(), timedelta(), 2 * HOUR, 2 * HOUR]) == [
        NOW,
        NOW,
        NOW + 2 * HOUR,
        NOW + 2 * HOUR,
    ]


@pytest.mark.parametrize(
    ("text", "budget"), [("300/3h", LETS_ENCRYPT), ("1/90s", Budget(1, HOUR / 40)), ("none", None)]
)
def test_limit_is_read(text: str, budget: Budget | None) -> None:
    """As many in so long, or none."""
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["", "300", "0/1h", "-1/1h", "300/", "300/3d", "x/1h", "300/0s", "/1h"])
def test_limit_that_makes_no_sense_is_refused(text: str) -> None:
    """With one sentence that says what to write."""
    with pytest.raises(ValueError, match="such as 300/3h, or none"):
        parse_budget(text)


def test_limits_are_known_of_lets_encrypt_only() -> None:
    """Both of its authorities, and no limit is invented for others."""
    assert dict(KNOWN) == dict.fromkeys(SHORT_NAMES.values(), LETS_ENCRYPT)


def turn_of(limiter: OrderRateLimiter, ticket: str, namespace: str = "") -> datetime | None:
    """When the ticket's turn is, None when it is now."""
    try:
        limiter.acquire(ticket, namespace)
    except AcmeProblem as problem:
        return problem.retry_at
    return None


def test_who_waits_is_told_why_and_until_when() -> None:
    """It is the operator that holds back, and no attempt has failed."""
    limiter = OrderRateLimiter(Budget(1, HOUR), WallClock().now)
    limiter.acquire("a")
    with pytest.raises(AcmeProblem, match="itself holds back") as caught:
        limiter.acquire("b")
    assert caught.value.finding.reason is Reason.RATE_LIMITED
    assert caught.value.transient
    assert f"next try at {caught.value.retry_at:%Y-%m-%d %H:%M:%S} UTC." in caught.value.finding.message


def test_place_in_line_is_kept_until_the_order_is_placed() -> None:
    """Neither a wake-up nor an authority that is away costs a second place."""
    clock = WallClock()
    limiter = OrderRateLimiter(Budget(1, HOUR), clock.now)
    assert turn_of(limiter, "a") is None
    assert turn_of(limiter, "a") is None
    second = turn_of(limiter, "b")
    assert second is not None
    assert turn_of(limiter, "b") == second
    limiter.spend("a")
    third = turn_of(limiter, "a")
    assert third is not None
    assert third - second == HOUR
    clock.advance(HOUR + timedelta(seconds=1))
    assert turn_of(limiter, "b") is None
    late = turn_of(limiter, "a")
    assert late is not None
    assert third <= late <= third + timedelta(seconds=2)  # a full bucket does not overflow while b is late


def test_without_a_limit_nobody_waits() -> None:
    """Private authorities take what comes."""
    limiter = OrderRateLimiter(None, WallClock().now)
    assert {turn_of(limiter, str(number)) for number in range(1000)} == {None}


def test_tickets_of_the_deleted_are_forgotten() -> None:
    """Memory has an end."""
    clock = WallClock()
    limiter = OrderRateLimiter(Budget(1000, HOUR), clock.now)
    for number in range(100):
        limiter.acquire(str(number))
    clock.advance(timedelta(days=2))
    limiter.acquire("new")
    assert set(limiter.tickets) == {"new"}


def test_place_of_a_deleted_resource_is_given_back() -> None:
    """Who makes and deletes 5000 resources pushes nobody back, whether their turn had come or not."""
    limiter = OrderRateLimiter(LETS_ENCRYPT, WallClock().now)
    for number in range(5000):
        turn_of(limiter, str(number), "evil")
        limiter.release(str(number))
    assert turn_of(limiter, "honest", "mail") is None
    assert set(limiter.tickets) == {"honest"}


def test_namespaces_take_turns() -> None:
    """However long the line of one is, another waits for one place at most."""
    clock = WallClock()
    limiter = OrderRateLimiter(LETS_ENCRYPT, clock.now)
    begun = clock.now()
    for number in range(5000):
        turn_of(limiter, str(number), "evil")
        if number < LETS_ENCRYPT.orders:
            limiter.spend(str(number))
    honest = [turn_of(limiter, f"honest-{number}", "mail") for number in range(3)]
    for number, turn_at in enumerate(honest):
        assert turn_at is not None
        assert turn_at - begun <= (2 * number + 3) * LETS_ENCRYPT.pause
    assert len(limiter.tickets) <= MOST_WAITING + 3


def test_who_does_not_come_back_loses_the_place() -> None:
    """A resource that went without a word keeps the others waiting for ten minutes at most."""
    clock = WallClock()
    limiter = OrderRateLimiter(Budget(2, HOUR), clock.now)
    for number in range(4):
        turn_of(limiter, str(number), "mail")
    clock.advance(2 * HOUR)
    assert turn_of(limiter, "late", "mail") is None
    assert set(limiter.tickets) == {"0", "1", "late"}


def test_state_counts_what_is_left_and_who_waits() -> None:
    """Tokens that are taken are gone until they flow back, one after the other; nobody has less than none."""
    clock = WallClock()
    limiter = OrderRateLimiter(Budget(2, HOUR), clock.now)
    assert limiter.state() == BudgetState(limit=2, left=2, waiting=0)
    limiter.acquire("one", "mail")
    assert limiter.state() == BudgetState(limit=2, left=1, waiting=0)
    limiter.acquire("two", "mail")
    for ticket in ("three", "four"):
        with pytest.raises(AcmeProblem):
            limiter.acquire(ticket, "mail")
    assert limiter.state() == BudgetState(limit=2, left=0, waiting=2)
    clock.advance(HOUR / 2)
    assert limiter.state() == BudgetState(limit=2, left=1, waiting=2)
    clock.advance(HOUR)
    assert limiter.state() == BudgetState(limit=2, left=2, waiting=2)
    assert OrderRateLimiter(None, clock.now).state() is None


@given(st.integers(1, 20), st.integers(0, 30))
def test_state_is_exact_for_every_number_of_orders(orders: int, placed: int) -> None:
    """Thirds and sevenths of an hour are not whole microseconds, and no token is lost to that."""
    clock = WallClock()
    limiter = OrderRateLimiter(Budget(orders, HOUR), clock.now)
    for ticket in range(min(placed, orders)):
        limiter.acquire(f"{ticket}", "mail")
    assert limiter.state() == BudgetState(orders, max(0, orders - placed), 0)
