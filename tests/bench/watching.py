"""What pods serve to clients, looked at several times a second."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bench.mail_clients import MailService

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_THREADS: Final = 3
_PAUSE: Final = 0.1  # seconds between two rounds of a thread


@dataclass(frozen=True, slots=True)
class Watched:
    """When each pod was seen to serve what; a look at a pod that could not be connected to shows nothing."""

    seen: list[tuple[float, str, str]] = field(default_factory=list)

    def lasted(self, good: str) -> dict[str, float]:
        """Seconds for which each pod may have served something else than `good`; pods that never did are left out.

        They begin with the last look before at which it served `good`, and end with the first one after: a pod that was
        seen once with another certificate had it for a while.
        """
        pods = sorted({pod for _, pod, _ in self.seen})
        looks = {pod: [(at, sha256) for at, its, sha256 in sorted(self.seen) if its == pod] for pod in pods}
        spans = {pod: _span(each, good) for pod, each in looks.items()}
        return {pod: seconds for pod, seconds in spans.items() if seconds is not None}


def _span(looks: list[tuple[float, str]], good: str) -> float | None:
    others = [place for place, (_, sha256) in enumerate(looks) if sha256 != good]
    if not others:
        return None
    before, after = max(0, others[0] - 1), min(len(looks) - 1, others[-1] + 1)
    return looks[after][0] - looks[before][0]


@contextmanager
def watching(addresses: Mapping[str, str]) -> Iterator[Watched]:
    """Look at all pods, by name and address, until the block ends; each of them is seen at least once after it."""
    ended, watched = threading.Event(), Watched()
    pods = [(name, MailService(address, "", "")) for name, address in addresses.items()]

    def look(own: list[tuple[str, MailService]]) -> None:
        is_last = False
        while not is_last:
            is_last = ended.wait(_PAUSE)  # a last round after the end
            for name, service in own:
                try:
                    watched.seen.append((time.monotonic(), name, service.fingerprint()))
                except OSError:
                    continue

    looking = [threading.Thread(target=look, args=(pods[each::_THREADS],), name="watching") for each in range(_THREADS)]
    for each in looking:
        each.start()
    try:
        yield watched
    finally:
        ended.set()
        for each in looking:
            each.join()
