"""The Events that a resource was told by."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from testbed.sandbox import MAIL_SERVER_TLS, TooLate

if TYPE_CHECKING:
    from e2e.installation import Installation


def told(installation: Installation, name: str = "mx") -> list[tuple[str, str]]:
    """Types and reasons of the Events about a resource."""
    return [(event["type"], event["reason"]) for event in installation.sandbox.events(name)]


def await_told(installation: Installation, *wanted: tuple[str, str]) -> None:
    """Wait for these Events, which follow the status by a moment; there may be others."""
    installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", lambda _: not Counter(wanted) - Counter(told(installation)))


def expect_told(installation: Installation, *wanted: tuple[str, str]) -> None:
    """Wait for these Events, which follow the status by a moment, and see no others."""
    with suppress(TooLate):
        installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", lambda _: sorted(told(installation)) == sorted(wanted))
    assert sorted(told(installation)) == sorted(wanted)
