"""What an account may ask its CA later: its orders (RFC 8555 section 7.1.2.1), and when to renew (RFC 9773)."""

import base64
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from typing import Final

import requests
from cryptography import x509

from mailtls.issuance.acme import messages as acme_messages
from mailtls.issuance.acme import problem as acme_problem
from mailtls.issuance.acme.network import RequestKind
from mailtls.issuance.acme.problem import AcmeProblem, OrderGone
from mailtls.issuance.acme.session import Session
from mailtls.issuance.acme.transport import NotHttps, require_https
from mailtls.issuance.certificates import links
from mailtls.issuance.order_state import OrderState, RenewalWindow
from mailtls.reasons.quoting import printable, shorten
from mailtls.reasons.reason import Finding, Reason

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


# It is asked again within these bounds, whatever the CA says (RFC 9773 section 4.3.2).
_SOONEST, _LATEST, _USUAL = timedelta(minutes=1), timedelta(days=1), timedelta(hours=6)
_LONGEST_QUOTED_URL = 300


def certificate_id(leaf: x509.Certificate) -> str | None:
    """Name a certificate as RFC 9773 section 4.1 does, None when it has no Authority Key Identifier."""
    try:
        authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return None
    if authority is None:
        return None
    # DER INTEGER: big endian with a leading zero byte where the first bit is set.
    serial = leaf.serial_number.to_bytes(leaf.serial_number.bit_length() // 8 + 1, "big")
    return f"{_base64url(authority)}.{_base64url(serial)}"


def renewal_info_url(session: Session, leaf: x509.Certificate) -> str | None:
    """Return where to ask for a certificate, None when the CA has no renewal information."""
    base, name = session.directory().to_partial_json().get("renewalInfo"), certificate_id(leaf)
    return f"{str(base).rstrip('/')}/{name}" if base and name else None


def renewal_window(session: Session, leaf: x509.Certificate) -> RenewalWindow | None:
    """Ask for the window; None when the CA has none, or after expiry (section 4.3).

    Raises a transient `AcmeProblem` for no answer or one that is none; `retry_at` says when to ask again, None by
    the caller's backoff.
    """
    url = renewal_info_url(session, leaf)
    if url is None or leaf.not_valid_after_utc <= session.now():
        return None
    try:
        response = session.get(RequestKind.RENEWAL_INFO, url)
    except AcmeProblem as problem:
        if problem.transient:
            raise
        raise _no_answer(session, problem.finding.message) from problem
    return _read(session, response)


def _read(session: Session, response: requests.Response) -> RenewalWindow:
    try:
        body = acme_messages.json_of(response.text)
        start, end = (acme_messages.read_time(body["suggestedWindow"][side]) for side in ("start", "end"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_answer(session, "it is not what RFC 9773 describes") from error
    if end <= start:
        raise _no_answer(session, "its end is not after its start")
    now = session.now()
    asked = acme_problem.retry_after(response, now, _LATEST) or now + _USUAL
    again_at = min(max(asked, now + _SOONEST), now + _LATEST)
    return RenewalWindow(start, end, again_at, _explanation(body.get("explanationURL")))


def _explanation(url: object) -> str | None:
    """Take a URL that people may follow (RFC 9773 section 4.2); it stands in messages."""
    try:
        require_https(str(url))
    except NotHttps:
        return None
    return shorten(printable(str(url)), _LONGEST_QUOTED_URL)


def _no_answer(session: Session, cause: str) -> AcmeProblem:
    message = f"The CA's renewal window is unusable, renewal goes by the certificate's lifetime: {cause.rstrip('.')}."
    return AcmeProblem(Finding(Reason.ACME_UNREACHABLE, message), retry_at=session.now() + _USUAL, transient=True)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
