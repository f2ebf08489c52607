"""Progress lines with elapsed times: a person who waits is told what for, and how long it took."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_STARTED_AT = time.monotonic()
_LOCK = threading.Lock()


def say(line: str) -> None:
    """Print one line with the time since the start; never torn by another thread's line."""
    elapsed = time.monotonic() - _STARTED_AT
    with _LOCK:
        print(f"[{elapsed:6.1f}s] {line}", file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce what begins and say how long it took; a failure is named before it goes on upwards."""
    say(f"{title} ...")
    began_at = time.monotonic()
    try:
        yield
    except BaseException:
        say(f"{title}: FAILED after {time.monotonic() - began_at:.1f}s")
        raise
    say(f"{title}: {time.monotonic() - began_at:.1f}s")


class Trouble(RuntimeError):
    """Something that a person must know, in one sentence; shown without a traceback."""
