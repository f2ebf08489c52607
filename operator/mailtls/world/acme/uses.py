"""Which open orders use which authorizations: CAs hand pending ones of an account out again, to whoever orders next.

What one resource gives back, or whose proof it removes, may be what another one's order waits for.
"""

import threading
from typing import Final

from mailtls.model.order import OrderState

_MOST_USERS: Final = 10_000
_MOST_CHARACTERS: Final = 10_000_000  # of all URLs; servers choose how long theirs are


class Uses:
    """One for all accounts, for two of them may have one key; thread-safe. A user is the key that an order is for.

    Orders are distinguished by the directory that they were made at, so that no server can speak of another's.
    """

    def __init__(self) -> None:
        self._urls: dict[str, frozenset[tuple[str, str]]] = {}  # by user
        self._characters = 0
        self._lock = threading.Lock()

    def note(self, server: str, user: str, order: OrderState) -> None:
        """Know what an order uses."""
        urls = (order.url, *(each.url for each in order.authorizations))
        with self._lock:
            self._drop(user)
            self._urls[user] = frozenset((server, url) for url in urls)
            self._characters += _characters(self._urls[user])
            while len(self._urls) > _MOST_USERS or self._characters > _MOST_CHARACTERS:
                self._drop(next(iter(self._urls)))  # the one heard of last is the last

    def forget(self, user: str) -> None:
        """Know that the user's order is closed."""
        with self._lock:
            self._drop(user)

    def knows(self, user: str) -> bool:
        """Whether it is known what the user's order uses: after a restart that takes until it is read again."""
        with self._lock:
            return user in self._urls

    def others(self, server: str, user: str) -> frozenset[str]:
        """Return the URLs, at a server, that orders of others use."""
        with self._lock:
            theirs = [urls for name, urls in self._urls.items() if name != user]
        return frozenset(url for urls in theirs for where, url in urls if where == server)

    def _drop(self, user: str) -> None:
        self._characters -= _characters(self._urls.pop(user, frozenset()))


def _characters(urls: frozenset[tuple[str, str]]) -> int:
    return sum(len(url) for _, url in urls)
