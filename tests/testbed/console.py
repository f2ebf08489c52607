"""Progress lines with elapsed times: a person who waits is told what for, and how long it took."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_STARTED_AT = time.monotonic()
_LOCK = threading.Lock()
_SIGN_OF_LIFE_AFTER = 60.0
_CLEAR = "\r\033[K"
_drawn = [""]  # the line that stays below all others, on a terminal


def say(line: str) -> None:
    """Print one line with the time since the start; never torn by another thread's line."""
    elapsed = time.monotonic() - _STARTED_AT
    with _LOCK:
        before = _CLEAR if _drawn[0] else ""
        print(f"{before}[{elapsed:6.1f}s] {line}\n{_drawn[0]}", end="", file=sys.stderr, flush=True)


def draw(line: str) -> None:
    """Let a line stay below those that are said, in place of the one before; an empty one takes it away."""
    with _LOCK:
        if line or _drawn[0]:
            _drawn[0] = line[: shutil.get_terminal_size().columns - 1]
            print(f"{_CLEAR}{_drawn[0]}", end="", file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce what begins, give a sign of life every minute, and say how long it took, failed or not."""
    say(f"{title} ...")
    began_at = time.monotonic()
    done = threading.Event()
    threading.Thread(target=_stay_in_touch, args=(title, done), daemon=True).start()
    try:
        yield
    except BaseException:
        say(f"{title}: FAILED after {time.monotonic() - began_at:.1f}s")
        raise
    finally:
        done.set()
    say(f"{title}: {time.monotonic() - began_at:.1f}s")


def _stay_in_touch(title: str, done: threading.Event) -> None:
    while not done.wait(_SIGN_OF_LIFE_AFTER):
        say(f"{title}: still at it")


class Trouble(RuntimeError):
    """Something that a person must know, in one sentence; shown without a traceback."""
