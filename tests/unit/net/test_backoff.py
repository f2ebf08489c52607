"""The one back-off policy, and its uses by name."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtls.metrics import Metrics
from mailtls.net.backoff import ALL, COUNTED, Backoff

HOW_IT_WORKS = Path(__file__).parents[3] / "docs" / "explanation" / "how-it-works.md"
ROW = re.compile(r"(?m)^\| `([a-z-]+)` \| ([0-9.]+)([smd]) \| ([0-9.]+) \| ([0-9.]+)([smd]) \|")
UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "d": timedelta(days=1)}
draws = st.floats(0, 1, exclude_max=True)


@given(st.sampled_from([each for each in ALL if each.factor >= 1]), st.integers(0, 10_000), draws)
def test_delay_grows_between_its_bounds_and_jitters(each: Backoff, failures: int, draw: float) -> None:
    """However often it failed, and whatever is drawn."""
    delay, next_one = each.after(failures, draw), each.after(failures + 1, draw)
    spread = sorted((1.0, 1 + each.jitter))
    assert each.first * spread[0] <= delay <= next_one <= each.cap * spread[1]


@pytest.mark.parametrize(("failures", "seconds"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (99, 10)])
def test_delay_doubles_up_to_the_cap(failures: int, seconds: int) -> None:
    """The first failure waits the first delay."""
    assert Backoff("x", timedelta(seconds=1), timedelta(seconds=10)).after(failures) == timedelta(seconds=seconds)


@given(st.sampled_from(ALL), st.timedeltas(timedelta(0), timedelta(days=999)))
def test_delay_by_time_stays_within_the_same_bounds(each: Backoff, failing_for: timedelta) -> None:
    """What fails for long is not forgotten, and what fails a moment is not asked in a loop."""
    assert each.first <= each.after_failing_for(failing_for) <= each.cap


def test_every_policy_is_documented_with_its_numbers() -> None:
    """The table of how-it-works.md has each policy once."""
    rows = ROW.findall(HOW_IT_WORKS.read_text(encoding="utf-8"))
    told = {kind: (float(one) * UNITS[u], float(by), float(most) * UNITS[v]) for kind, one, u, by, most, v in rows}
    assert told == {each.kind: (each.first, each.factor, each.cap) for each in ALL}
    assert len(rows) == len(ALL)
    uncounted = [kind for kind, *_ in rows][len(COUNTED) :]
    number = {6: "six", 7: "seven", 8: "eight", 9: "nine"}[len(ALL) - len(COUNTED)]
    page = " ".join(HOW_IT_WORKS.read_text(encoding="utf-8").split())
    assert f"but for the last {number}, from `{uncounted[0]}` on" in page


def test_retries_are_counted_by_kind() -> None:
    """Each kind has a series from the start, so that an alert can tell none from no data."""
    metrics = Metrics()
    metrics.retried("rollout")
    text = metrics.text().decode()
    assert 'mailtls_retries_total{kind="rollout"} 1.0' in text
    assert {
        f'mailtls_retries_total{{kind="{each.kind}"}} 0.0' in text for each in COUNTED if each.kind != "rollout"
    } == {True}
