"""Finds an order again whose URL was lost, in the account's own list (RFC 8555 section 7.1.2.1)."""

import threading
from collections.abc import Iterable, Iterator, Sequence

from mailtls.model.order import OrderState
from mailtls.world.acme.chain import links
from mailtls.world.acme.network import RequestKind
from mailtls.world.acme.session import Session

_MOST_PAGES = 1000


class Listing:
    """The orders of one account; remembers whose names each is for, so that every order is read once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._names: dict[str, frozenset[str]] = {}
        self._lock = threading.Lock()

    def urls(self) -> Sequence[str]:
        """Return all order URLs, last listed first: CAs append; empty where the CA keeps no list."""
        return tuple(reversed(tuple(self._pages())))

    def may_be_for(self, url: str, names: Iterable[str]) -> bool:
        """Whether an order is not known to be of other names; `names` in lower case."""
        with self._lock:
            known = self._names.get(url)
        return known is None or known == frozenset(names)

    def remember(self, order: OrderState) -> None:
        """Note an order's names, which never change."""
        with self._lock:
            self._names[order.url] = frozenset(name.lower() for name in order.identifiers)

    def _pages(self) -> Iterator[str]:
        page = self._session.orders_url()
        for _ in range(_MOST_PAGES):
            if page is None:
                return
            response = self._session.post(RequestKind.ORDERS, page)
            listed = self._session.json(response).get("orders")
            yield from map(str, listed if isinstance(listed, list) else ())
            page = next(iter(links(response, "next")), None)
