"""The time of this machine."""

from datetime import UTC, datetime


class SystemClock:
    """Implements `ports.Clock`."""

    def now(self) -> datetime:
        """Return the time in UTC, with time zone."""
        return datetime.now(UTC)
