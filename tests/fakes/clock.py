"""Clocks behind the `Clock` Protocol."""

from datetime import UTC, datetime, timedelta


class WallClock:
    """Tells the real time, shifted by what a test advanced it."""

    def __init__(self) -> None:
        self.shift = timedelta()

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC) + self.shift

    def advance(self, by: timedelta) -> None:
        """Let time pass at once."""
        self.shift += by


class StoppedClock(WallClock):
    """Tells the time of its making, shifted by what a test advanced it: a busy machine changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._made_at = datetime.now(UTC)

    def now(self) -> datetime:
        """Return the time in UTC."""
        return self._made_at + self.shift
