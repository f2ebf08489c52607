"""Compares our clock with the authorities', by the Date of their answers (RFC 9110 section 6.6.1).

A wrong clock renews too late, refuses certificates as not valid yet, and lets DNS servers refuse signatures.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import requests
import structlog

from mailtls.model.skew import TOLERATED, skew
from mailtls.world.acme.problem import http_date
from mailtls.world.ports import Clock

_log = structlog.get_logger(__name__)
OnSkew = Callable[[str, float], None]


class ClockWatch:
    """One for all authorities; thread-safe. `on_skew` hears the host and how many seconds our clock is ahead."""

    def __init__(self, clock: Clock, on_skew: OnSkew = lambda _server, _seconds: None) -> None:
        self._clock, self._on_skew = clock, on_skew
        self._wrong: set[str] = set()
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the time in UTC."""
        return self._clock.now()

    def see(self, response: requests.Response, sent_at: datetime) -> None:
        """Take an answer in that has just arrived; one out of a cache is dated by another time."""
        dated_at = http_date(response.headers.get("Date", ""))
        server = urlsplit(response.url).hostname
        if dated_at is None or server is None or "Age" in response.headers:
            return
        ahead = skew(dated_at, sent_at, self._clock.now())
        self._on_skew(server, ahead.total_seconds())
        self._tell(server, ahead)

    def _tell(self, server: str, ahead: timedelta) -> None:
        """Say it once when it begins, and once when it ends."""
        is_wrong = abs(ahead) > TOLERATED
        with self._lock:
            if is_wrong == (server in self._wrong):
                return
            self._wrong ^= {server}
        seconds = round(ahead.total_seconds())
        if is_wrong:
            _log.warning("set the clock of this node: it is not the CA's", server=server, seconds_ahead=seconds)
        else:
            _log.info("the clock agrees with the CA's again", server=server, seconds_ahead=seconds)
