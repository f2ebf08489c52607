"""The bench's own arithmetic: how long a server was bad, and when a measurement may be repeated."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bench.stuck import TRIES, unless_stuck
from bench.watching import Watched
from testbed.sandbox import TooLate

GOOD, BAD = "good", "bad"


@pytest.mark.parametrize(
    ("looks", "lasted"),
    [
        ([(0.0, GOOD), (0.5, GOOD)], None),
        ([(0.0, GOOD), (0.5, BAD), (1.0, GOOD)], 1.0),
        ([(0.0, GOOD), (0.5, BAD), (1.0, GOOD), (1.5, BAD), (2.0, GOOD), (9.0, GOOD)], 2.0),
        ([(0.0, BAD), (0.5, BAD)], 0.5),
        ([(2.0, GOOD), (0.0, GOOD), (1.0, BAD)], 2.0),
    ],
)
def test_bad_server_was_so_from_the_last_good_look_to_the_next(looks: list[tuple[float, str]], lasted: float) -> None:
    """One that was seen with a bad certificate once had it for longer than no time."""
    seen = [(at, "pod-1", sha256) for at, sha256 in looks] + [(5.0, "pod-2", GOOD)]
    assert Watched(seen).lasted(GOOD) == ({"pod-1": lasted} if lasted else {})


@pytest.mark.parametrize(
    ("late", "is_stuck", "stages"),
    [(0, True, 1), (1, True, 2), (TRIES, True, TRIES), (1, False, 1)],
)
def test_part_is_measured_once_more_only_where_the_ca_has_locked_itself_up(
    late: int, is_stuck: bool, stages: int
) -> None:
    """An operator that is late before a CA that answers has failed; and a CA may be at fault so many times only."""
    made: list[int] = []

    @contextmanager
    def stage() -> Iterator[Any]:
        made.append(len(made))
        yield len(made)

    def measure(ready: Any) -> int:
        number = int(ready)
        if number <= late:
            raise TooLate("resources are not Ready")
        return number

    fails = late and (not is_stuck or late == TRIES)
    if fails:
        with pytest.raises(TooLate):
            unless_stuck(stage, measure, lambda _stage: is_stuck)
    else:
        assert unless_stuck(stage, measure, lambda _stage: is_stuck) == late + 1
    assert len(made) == stages
