"""Turns that are spread over the interval."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from builders.stories import DAY, NOW
from mailtls.times import next_turn, share_of

intervals = st.timedeltas(timedelta(minutes=1), 7 * DAY)
HOUR = timedelta(hours=1)


@given(st.text(), st.timedeltas(timedelta(), 400 * DAY), intervals)
def test_turn_comes_within_the_interval_and_not_before_half_of_it(
    uid: str, age: timedelta, interval: timedelta
) -> None:
    """Nobody waits longer than was said, nor is asked twice in a row."""
    gap = next_turn(uid, NOW + age, interval) - (NOW + age)
    assert interval / 2 - timedelta(microseconds=2) < gap <= interval + timedelta(microseconds=2)


@given(st.uuids())
def test_turns_follow_each_other_at_the_interval(uid: object) -> None:
    """Only the first one comes early; a turn that is taken a little late does not move those after it."""
    first = next_turn(str(uid), NOW, HOUR)
    second = next_turn(str(uid), first + timedelta(seconds=20), HOUR)
    assert second == first + HOUR


def test_resources_that_begin_together_are_spread_out() -> None:
    """After a restart 600 sweeps begin at once; the next ones come some 20 in each minute of half an hour."""
    turns = [next_turn(f"uid-{number}", NOW, HOUR) for number in range(600)]
    in_a_minute = [sum(turn // 60 == minute for turn in map(_seconds, turns)) for minute in range(30, 60)]
    assert sum(in_a_minute) == 600
    assert max(in_a_minute) < 45


def test_share_is_the_same_every_time() -> None:
    """Another process spreads the same resources in the same way."""
    assert share_of("uid-1") == share_of("uid-1")
    assert 0.0 <= share_of("uid-1") < 1.0
    assert share_of("uid-1") != share_of("uid-2")


def _seconds(turn: object) -> float:
    return (turn - NOW).total_seconds()  # type: ignore[operator,no-any-return]
