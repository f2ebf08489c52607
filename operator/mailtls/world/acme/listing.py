"""Finds an order again whose URL was lost, in the account's own list (RFC 8555 section 7.1.2.1)."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

from mailtls.model.order import OrderState
from mailtls.world.acme.chain import links
from mailtls.world.acme.network import RequestKind
from mailtls.world.acme.session import Session

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
    """Tell texts apart in a few octets, whatever a server has written."""
    return sha256("\n".join(sorted(texts)).encode(errors="surrogatepass")).digest()
