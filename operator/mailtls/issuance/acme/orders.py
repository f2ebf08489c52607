"""Orders of an account (RFC 8555 section 7.1.2.1): found again, and which authorizations they use."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Final

from mailtls.issuance.acme.chain import links
from mailtls.issuance.acme.network import RequestKind
from mailtls.issuance.acme.problem import OrderGone
from mailtls.issuance.acme.session import Session
from mailtls.issuance.order_state import OrderState

_MOST_PAGES = 1000
_MOST_ORDERS = 10_000  # those listed last
_LONGEST_URL = 1024


class Listing:
    """The orders of one account; remembers whose names each is for, so that every order is read once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._names: dict[bytes, bytes] = {}
        self._lock = threading.Lock()

    def urls(self) -> Sequence[str]:
        """Return order URLs, last listed first: CAs append; empty where the CA keeps no list.

        However long a server makes its list, only its end is held.
        """
        return tuple(reversed(deque(self._pages(), maxlen=_MOST_ORDERS)))

    def may_be_for(self, url: str, names: Iterable[str]) -> bool:
        """Whether an order is not known to be of other names; `names` in lower case."""
        with self._lock:
            known = self._names.get(_digest([url]))
        return known is None or known == _digest({name.lower() for name in names})

    def remember(self, order: OrderState) -> None:
        """Note an order's names, which never change."""
        url, names = _digest([order.url]), _digest({name.lower() for name in order.identifiers})
        with self._lock:
            self._names.pop(url, None)
            while len(self._names) >= _MOST_ORDERS:
                del self._names[next(iter(self._names))]
            self._names[url] = names

    def orders_for(self, names: Iterable[str], read: Callable[[str], OrderState]) -> Iterator[OrderState]:
        """Read with `read` each order that may be of exactly these names, last listed first."""
        wanted = frozenset(name.lower() for name in names)
        for url in self.urls():
            if self.may_be_for(url, wanted):
                with suppress(OrderGone):
                    order = read(url)
                    self.remember(order)
                    yield order

    def _pages(self) -> Iterator[str]:
        page = self._session.orders_url()
        for _ in range(_MOST_PAGES):
            if page is None:
                return
            response = self._session.post(RequestKind.ORDERS, page)
            listed = self._session.json(response).get("orders")
            texts = (each for each in (listed if isinstance(listed, list) else ()) if isinstance(each, str))
            yield from (each for each in texts if len(each) <= _LONGEST_URL and each.isascii())
            page = next(iter(links(response, "next")), None)


def _digest(texts: Iterable[str]) -> bytes:
    """Distinguish texts by a few octets, whatever a server has written."""
    return sha256("\n".join(sorted(texts)).encode(errors="surrogatepass")).digest()


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
                self._drop(next(iter(self._urls)))  # the one noted last is the last

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
