"""Windows of time: cron's words, time zones, and the nights in which clocks change."""

import zoneinfo
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from mailtls.api.windows import Window, closed_until, read_schedule, read_zone

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
BERLIN = "Europe/Berlin"  # to summer time at 2026-03-29 01:00 UTC, back at 2026-10-25 01:00 UTC


def utc(text: str) -> datetime:
    """Read a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def is_open(window: Window, now: datetime) -> bool:
    """Whether it is open."""
    return closed_until([window], now) is None


@pytest.mark.parametrize(
    ("now", "opens_at"),
    [
        ("2026-12-01T00:59:59", "2026-12-01T01:00"),  # 02:00 in winter
        ("2026-12-01T01:00:00", None),
        ("2026-12-01T03:59:59", None),
        ("2026-12-01T04:00:00", "2026-12-02T01:00"),
        ("2026-07-01T00:00:00", None),  # 02:00 in summer
        ("2026-07-01T03:00:00", "2026-07-02T00:00"),
        ("2026-03-29T00:59:00", "2026-03-29T01:00"),  # 02:00 is skipped: the first moment after it
        ("2026-03-29T03:59:00", None),
        ("2026-03-29T04:00:00", "2026-03-30T00:00"),
        ("2026-10-25T00:00:00", None),  # 02:00 comes twice: the first
        ("2026-10-25T01:30:00", None),  # three hours that pass are over at 04:00 of the new time
        ("2026-10-25T02:59:59", None),
        ("2026-10-25T03:00:00", "2026-10-26T01:00"),
    ],
)
def test_nightly_window_opens_by_the_clocks_of_its_zone(now: str, opens_at: str | None) -> None:
    """It lasts three hours in every night, and its first hour is the one that people mean."""
    found = closed_until([Window("0 2 * * *", 3 * HOUR, BERLIN)], utc(now))
    assert (found[0] if found else None) == (utc(opens_at) if opens_at else None)


@pytest.mark.parametrize("schedule", ["30 2 * * *", "15,45 1-3 * * *", "*/20 * * * *", "0 */2 * * *", "*/7 2 * * 0"])
@pytest.mark.parametrize("day", ["2026-03-28T22:00:00", "2026-10-24T22:00:00", "2026-06-01T00:00:00"])
@pytest.mark.parametrize("zone", [BERLIN, "America/New_York", "Australia/Lord_Howe", "UTC"])
def test_window_is_open_exactly_after_each_time_of_its_schedule(schedule: str, day: str, zone: str) -> None:
    """From whichever moment one looks, also in the hour that clocks repeat, the same times open it."""
    window, begin = Window(schedule, 5 * MINUTE, zone), utc(day)
    moments = [begin + n * MINUTE for n in range(-60, 16 * 60)]
    opened = {now for now in moments if Window(schedule, MINUTE, zone).opening(now) == now}
    for now in moments[5:]:
        assert is_open(window, now) is any(now - n * MINUTE in opened for n in range(5)), now
        found = closed_until([window], now)
        if found is not None and found[0] <= moments[-1]:
            assert min(each for each in opened if each > now) == found[0]


def test_window_that_opens_again_before_it_closes_stays_open() -> None:
    """An hour's window each half hour is always open."""
    window = Window("*/30 * * * *", HOUR)
    assert all(is_open(window, utc("2026-12-01T00:00") + 7 * n * MINUTE) for n in range(300))


def test_first_of_several_windows_opens() -> None:
    """None given means that nothing is closed; the message shows the time as people there read it."""
    nightly, yearly = Window("0 2 * * *", HOUR, BERLIN), Window("0 0 1 1 *", HOUR)
    now = utc("2026-07-01T12:00")
    assert closed_until([], now) is None
    assert closed_until([yearly, nightly], now) == (utc("2026-07-02T00:00"), "2026-07-02 02:00 CEST (Europe/Berlin)")
    assert closed_until([yearly], now) == (utc("2027-01-01T00:00"), "2027-01-01 00:00 UTC")
    assert closed_until([yearly, Window("0 11 * * *", 2 * HOUR)], now) is None


def test_leap_day_is_found_years_ahead() -> None:
    """Rare days are found, and soon: the search is bounded."""
    assert Window("0 0 29 2 *", HOUR).opening(utc("2026-03-01T00:00")) == utc("2028-02-29T00:00")
    assert Window("0 0 * 2 MON#5", HOUR).opening(utc("2072-03-01T00:00")) == utc("2112-02-29T00:00")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 2 * *", "five fields"),
        ("0 0 2 * * *", "five fields"),
        ("@daily", "five fields"),
        ("", "five fields"),
        ("0 2 * * *\n", "five fields"),
        ("60 * * * *", "no such minute"),
        ("0 24 * * *", "no such hour"),
        ("0 0 30 2 *", "no such day-of-month"),
        ("0 0 * * FUN", "no such day-of-week"),
        ("*/0 * * * *", "no such minute"),
        ("0 0 */31 * MON#2", "no day is ever like that"),
        ("0 0 " + "1," * 40 + "99 * *", "no such day-of-month"),
    ],
)
def test_schedule_that_never_fires_or_is_none_is_refused_with_a_sentence(text: str, words: str) -> None:
    """A window that never opens would hold every certificate back until it is urgent."""
    with pytest.raises(ValueError, match=words):
        read_schedule(text)


@pytest.mark.parametrize("text", ["0 2 * * *", "*/5 0-6 * * mon-fri", "0 0 L * *", "0 3 * * 7L", "0 0 29 2 *"])
def test_schedule_that_fires_is_taken(text: str) -> None:
    """What cron knows is read as it is."""
    assert read_schedule(text) == text


@pytest.mark.parametrize("text", ["", "Europe", "CET", "localtime", "../etc/passwd", "Mars/Phobos", "UTC+1", "a/b"])
def test_zone_that_nobody_knows_is_refused_with_a_sentence(text: str) -> None:
    """A name is looked up in the IANA database, and is never a path."""
    with pytest.raises(ValueError, match="write a time zone of the IANA database"):
        read_zone(text)


def test_zones_need_no_database_of_the_machine() -> None:
    """The package tzdata brings them, as images without /usr/share/zoneinfo have none."""
    zoneinfo.reset_tzpath(to=[])
    try:
        assert zoneinfo.TZPATH == ()
        assert ZoneInfo.no_cache(BERLIN).utcoffset(datetime(2026, 7, 1, tzinfo=UTC)) is not None
    finally:
        zoneinfo.reset_tzpath()
