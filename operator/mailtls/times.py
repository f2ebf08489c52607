"""Durations and moments as Kubernetes and messages write them, clocks that differ, turns spread over an interval."""

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, Protocol


class Clock(Protocol):
    """What gives the time."""

    def now(self) -> datetime:
        """Return the time in UTC, with time zone."""


CLOCK_SKEW: Final = timedelta(hours=1)
"""Clocks differ by as much: a certificate that begins so soon counts as valid."""
_PARTS = re.compile(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,7})s)?")


def parse_duration(text: str) -> timedelta:
    """Read hours, minutes and seconds, in this order; raises ValueError with the sentence to show a person."""
    parts = _PARTS.fullmatch(text)
    if parts is None or not text:
        raise ValueError("write a duration in hours, minutes and seconds such as 1h30m; a day is 24h")
    hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """Write whole seconds the short way: `1h30m`, never `1h30m0s`; nothing at all is `0s`."""
    minutes, seconds = divmod(int(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"


def format_minute(moment: datetime) -> str:
    """Write a moment in UTC as a message shows it: `2026-08-01 12:00 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def format_second(moment: datetime) -> str:
    """Write a moment in UTC as a message shows it where minutes are too coarse: `2026-08-01 12:00:30 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def format_rfc3339(moment: datetime) -> str:
    """Write a moment as Kubernetes does: RFC 3339, in UTC, with whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: str) -> datetime:
    """Read an RFC 3339 moment; raises ValueError."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError:  # the year 1 or 9999, and a time zone that leads beyond it
        raise ValueError(f"{text} is no time") from None


TOLERATED = timedelta(seconds=60)
_RESOLUTION = timedelta(seconds=1)  # HTTP dates have no fractions (RFC 9110 section 5.6.7)


def skew(dated_at: datetime, sent_at: datetime, answered_at: datetime) -> timedelta:
    """Return how far our clock is ahead of the one that dated an answer, negative when behind.

    The answer was dated at some moment between the request and its arrival, so only what lies outside of these is a
    difference of clocks.
    """
    if dated_at > answered_at:
        return answered_at - dated_at
    return max(sent_at - (dated_at + _RESOLUTION), timedelta())


_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_WHOLE = 2**64


def share_of(uid: str) -> float:
    """A number from 0 up to 1 that belongs to a resource for good, and is spread evenly among resources."""
    return int.from_bytes(sha256(uid.encode()).digest()[:8], "big") / _WHOLE


def next_turn(uid: str, last: datetime, interval: timedelta) -> datetime:
    """When it is a resource's turn again: within `interval`, and after half of it at the earliest.

    Each resource has times of its own, two in an interval. Those that all had a turn at one time, as after a restart,
    are apart after the next one, and each keeps exactly to its interval from then on.
    """
    half = interval / 2
    begin = _EPOCH + half * share_of(uid)
    return begin + ((last + half - begin) // half + 1) * half
