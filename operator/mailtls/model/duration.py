"""Durations as Kubernetes writes them (`720h`, `1h30m`, `90s`), and moments as messages show them."""

import re
from datetime import datetime, timedelta

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
