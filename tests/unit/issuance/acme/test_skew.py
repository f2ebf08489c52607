"""How far clocks are apart, and what of it is only the way of the answer."""

from datetime import timedelta

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from builders.stories import NOW
from fakes.clock import WallClock
from mailtls.issuance.acme.network import ClockWatch
from mailtls.times import skew

SECOND = timedelta(seconds=1)


@given(st.floats(0, 100), st.floats(0, 100))
def test_answer_dated_while_it_was_on_its_way_tells_of_no_difference(before: float, after: float) -> None:
    """However long the round trip is, and although dates are cut to whole seconds."""
    sent_at, answered_at = NOW - before * SECOND, NOW + after * SECOND
    assert skew(NOW, sent_at, answered_at) == timedelta()
    assert skew(NOW - 0.9 * SECOND, sent_at, answered_at) == timedelta()


@pytest.mark.parametrize(
    ("dated", "ahead"),
    [(-120.0, 119.0), (-1.0, 0.0), (0.0, 0.0), (3.0, 0.0), (120.0, -117.0)],
)
def test_what_lies_outside_of_the_round_trip_is_the_difference(dated: float, ahead: float) -> None:
    """Ahead counts from the request, behind from the arrival three seconds later."""
    assert skew(NOW + dated * SECOND, NOW, NOW + 3 * SECOND) == ahead * SECOND


@pytest.mark.parametrize(
    "headers",
    [{}, {"Date": "yesterday"}, {"Date": "Fri, 01 May 2020 12:00:00 GMT", "Age": "600"}],
    ids=["no date", "no such date", "out of a cache"],
)
def test_answer_that_tells_nothing_about_the_clock_is_not_counted(headers: dict[str, str]) -> None:
    """Neither a proxy's page nor a cached answer raises an alarm."""
    heard: list[tuple[str, float]] = []
    response = requests.Response()
    response.url = "https://ca.test/directory"
    response.headers.update(headers)
    clock = WallClock()
    ClockWatch(clock, lambda server, seconds: heard.append((server, seconds))).see(response, clock.now())
    assert heard == []
