"""Turns: what every resource does now and then is spread over the interval, so that a restart starts no stampede."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

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
