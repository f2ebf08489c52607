"""How far two clocks are apart, as one answer over the network tells."""

from datetime import datetime, timedelta

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
