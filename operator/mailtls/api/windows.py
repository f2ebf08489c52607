"""Windows of time: when they open, by a cron schedule and the clocks of a time zone.

A window opens at each time that its schedule names and stays open for its duration, counted as time that really
passes: one of three hours is three hours long also in the night when clocks change.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_FIELDS: Final = re.compile(r"[0-9A-Za-z*,/#-]+( +[0-9A-Za-z*,/#-]+){4}")
_ZONE: Final = re.compile(r"UTC|[A-Z][A-Za-z]+(/[A-Za-z][A-Za-z0-9_+-]*){1,2}")
_ANY_YEAR: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""From here on each schedule that fires at all does so within 50 years, which is how far the library looks."""
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Window:
    """Opens as `schedule` says, which is cron's five fields on the clocks of `zone` (IANA), and lasts for `duration`.

    Of a time that clocks skip in spring the first moment after it counts, and of one that they repeat in autumn the
    first; schedules that begin with `*` in minute or hour go on by the clock. So does cron on Debian.
    """

    schedule: str
    duration: timedelta
    zone: str = "UTC"

    def opening(self, now: datetime) -> datetime:
        """Return when it opened, where it is open at `now`, else when it opens next; in UTC.

        One that opens again before it has closed stays open.
        """
        since = now - self.duration
        return _first_after(self.schedule, self.zone, since.replace(second=0, microsecond=0))

    def local(self, moment: datetime) -> str:
        """Write a moment as the clocks there show it: `2026-08-01 02:00 CEST (Europe/Berlin)`."""
        there = moment.astimezone(ZoneInfo(self.zone))
        return f"{there:%Y-%m-%d %H:%M %Z}" + (f" ({self.zone})" if self.zone != "UTC" else "")


def closed_until(windows: Iterable[Window], now: datetime) -> tuple[datetime, str] | None:
    """Return when the first of them opens, also as its own clocks show it; None where one is open, or there is none."""
    openings = sorted(((each.opening(now), each) for each in windows), key=lambda found: found[0])
    if not openings or openings[0][0] <= now:
        return None
    at, window = openings[0]
    return at, window.local(at)


@lru_cache(maxsize=1024)
def _first_after(schedule: str, zone: str, minute: datetime) -> datetime:
    """Return the first time after a whole minute; the library's may lie before it in an hour that clocks repeat."""
    times = CronSim(schedule, minute.astimezone(ZoneInfo(zone)))
    return next(at for at in (each.astimezone(UTC) for each in times) if at > minute)


@lru_cache(maxsize=1024)
def read_schedule(text: str) -> str:
    """Check a schedule; raises ValueError with the sentence to show a person."""
    if _FIELDS.fullmatch(text) is None:
        raise ValueError(
            "write the five fields of cron, which are minute, hour, day of the month, month and day of the week, "
            'such as "0 2 * * *" for each day at 02:00'
        )
    try:
        next(CronSim(text, _ANY_YEAR))
    except CronSimError as error:
        what = str(error).removeprefix("Bad ")
        raise ValueError(f'there is no such {what}, so write one that exists, as in "0 2 * * *"') from error
    except StopIteration:
        raise ValueError("no day is ever like that, so write a schedule that fires") from None
    except (AssertionError, TypeError) as error:  # the library's, for mixtures such as MON#1/2
        raise ValueError('cron cannot read these fields, so write simpler ones, as in "0 2 * * *"') from error
    return text


@lru_cache(maxsize=1024)
def read_zone(text: str) -> str:
    """Check the name of a time zone; raises ValueError with the sentence to show a person."""
    try:
        is_known = _ZONE.fullmatch(text) is not None and bool(ZoneInfo(text))
    except (KeyError, ValueError, OSError):  # of a folder it is the operating system that says no
        is_known = False
    if not is_known:
        raise ValueError("write a time zone of the IANA database such as Europe/Berlin, or UTC")
    return text


SHORTEST: Final = 5 * _MINUTE
"""A window that is shorter may be over before the first pod has its file."""
LONGEST: Final = timedelta(days=7)
