"""Whether the test CA has locked itself up, which is no fault of the operator: the part is measured once more then.

Pebble 2.10.1 locks an order for reading twice in one request. Where the order is completed in between, that request
and the completion wait for each other, and soon all others for these (its issue 554); its directory is shown on.
"""

from __future__ import annotations

import urllib.error
from typing import TYPE_CHECKING, Final, TypeVar

from bench.bare import composed
from mailtls.controller.composition import defaults_of
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.net.effects import within
from mailtls.reasons.reason import Reason
from testbed.console import Trouble, say
from testbed.sandbox import TooLate

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from bench.stage import Stage

TRIES: Final = 3
_PATIENCE: Final = 30.0  # seconds for an account and an order, which take milliseconds
_Measured = TypeVar("_Measured")


def unless_stuck(
    make: Callable[[], AbstractContextManager[Stage]],
    measure: Callable[[Stage], _Measured],
    is_stuck: Callable[[Stage], bool] | None = None,
) -> _Measured:
    """Measure on a stage; on a new one where the CA of the first has locked itself up, and for no other cause."""
    has_locked_up = is_stuck or is_locked_up
    for tries in range(1, TRIES + 1):
        with make() as ready:
            try:
                return measure(ready)
            except (TooLate, Trouble) as late:
                if tries == TRIES or not has_locked_up(ready):
                    raise
                say(f"Pebble has locked itself up and answers no order, so this is measured once more: {late}")
    raise AssertionError("the last try returns or raises")


def is_locked_up(ready: Stage) -> bool:
    """Whether Pebble shows its directory, and lets a new account's order wait for ever."""
    made, settings = composed(ready)
    acme = defaults_of(settings).acme
    if acme is None or not _shows_directory(ready):
        return False
    try:
        with within(_PATIENCE):
            made.accounts.of(acme).new_order((ready.zone.host("is-it-stuck"),))
    except TimeoutError:
        return True
    except AcmeProblem as problem:
        return problem.finding.reason is Reason.ACME_UNREACHABLE
    return False


def _shows_directory(ready: Stage) -> bool:
    try:
        return "newOrder" in ready.pebble.get("/dir")
    except (OSError, urllib.error.URLError, ValueError):
        return False
