"""Speaks to DNS servers: one over TCP, for updates, or many over UDP at once, to compare what they answer."""

import selectors
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Final, NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode

from mailtls.net.addresses import AddressPolicy, look_up
from mailtls.net.effects import end_of
from mailtls.net.shared_work import Expiring
from mailtls.reasons.reason import Finding, Reason

DNS_PORT: Final = 53
_CONNECT_SECONDS: Final = 3.0
_MOST_ADDRESSES: Final = 8  # of the server that takes updates; a name may have hundreds
_CONVERSATION_SECONDS: Final = 8.0  # all of one connection: a slow server must not hold a worker
_UDP_SECONDS: Final = (0.7, 1.5)  # one datagram may get lost; two in a row mean silence
_ADDRESSES_SECONDS: Final = 30.0
_WHOLE_SECONDS: Final = 6.0  # for all answers that did not fit in a datagram
KNOCK_SECONDS: Final = 2.0  # for a try over TCP of a server that is silent over UDP
_LARGEST_DATAGRAM: Final = 65535
Ask = Callable[[dns.message.Message], dns.message.Message]


class DnsProblem(Exception):
    """A DNS server cannot be asked; `finding` says why. `transient`: it was away, and may be back later."""

    def __init__(self, finding: Finding, transient: bool) -> None:
        super().__init__(finding.message)
        self.finding, self.transient = finding, transient


def is_authoritative(answer: dns.message.Message) -> bool:
    """Whether a server answers for a zone of its own, be it that there is no such name (RFC 1035 section 4.1.1)."""
    return bool(answer.flags & dns.flags.AA) and answer.rcode() in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}


class Address(NamedTuple):
    """Where a DNS server listens: a literal IPv4 or IPv6 address, and a port."""

    host: str
    port: int = DNS_PORT

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def split_server(server: str) -> tuple[str, int]:
    """Split host, host:port, [v6] or [v6]:port; a bare IPv6 address is a host, too."""
    if server.startswith("["):
        host, _, rest = server[1:].partition("]")
        return host, int(rest.removeprefix(":") or DNS_PORT)
    if server.count(":") == 1:
        host, _, port = server.partition(":")
        return host, int(port)
    return server, DNS_PORT


class DnsServer:
    """The one server that takes updates, named as in the spec; thread-safe, each conversation has its connection.

    Addresses that `policy` refuses are not connected to; without one all are, as befits the command line.
    """

    def __init__(self, name: str, policy: AddressPolicy | None = None) -> None:
        self.name, self._policy = name, policy
        self._host, self._port = split_server(name)
        self._known: Expiring[str, tuple[Address, ...]] = Expiring(_ADDRESSES_SECONDS)

    @contextmanager
    def conversation(self, until: float = float("inf")) -> Iterator[Ask]:
        """Connect, and yield the way to ask; raises `DnsProblem` (DnsUnreachable), and dnspython's TSIG errors.

        All of it, connecting included, ends after 8 seconds, and at the monotonic time `until` at the latest.
        """
        deadline = min(until, end_of(_CONVERSATION_SECONDS))
        with self._connect(deadline) as connection:
            yield lambda message: self._exchange(connection, message, deadline)

    def _connect(self, deadline: float) -> socket.socket:
        trouble: OSError | None = None
        for address in self._addresses(deadline):
            try:
                connection = socket.create_connection(address, min(_CONNECT_SECONDS, _left(deadline)))
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.setblocking(False)  # else dnspython would wait without an end
            except OSError as error:
                trouble = error
            else:
                return connection
        self._known.forget(self._host)  # a Service or a pod may have got another address
        raise self._unreachable(_meaning(trouble))

    def _addresses(self, deadline: float) -> tuple[Address, ...]:
        known = self._known.get(self._host)
        if known is not None:
            return known
        try:
            found = look_up(self._host, self._port, _left(deadline))
        except TimeoutError:
            raise self._unreachable("its name is not resolved in time") from None
        except (OSError, UnicodeError):  # UnicodeError: a label that IDNA cannot hold
            raise self._unreachable("its name does not resolve") from None
        addresses = self._admitted(tuple(dict.fromkeys(Address(str(each[4][0]), self._port) for each in found)))
        return self._known.put(self._host, addresses[:_MOST_ADDRESSES])

    def _admitted(self, addresses: tuple[Address, ...]) -> tuple[Address, ...]:
        """Those that may be dialled; raises `DnsProblem` (AddressRefused) when there is none."""
        if self._policy is None:
            return addresses
        kinds = {each: self._policy.refusal(*each) for each in addresses}
        admitted = tuple(each for each, kind in kinds.items() if kind is None)
        if not admitted and kinds:
            address, kind = next(iter(kinds.items()))
            message = (
                f"Name another DNS server than {self.name}, or have the installation list its network in "
                f"connections.allowedNetworks: its address {address.host} is {kind}."
            )
            raise DnsProblem(Finding(Reason.ADDRESS_REFUSED, message), transient=False)
        return admitted

    def _exchange(
        self, connection: socket.socket, message: dns.message.Message, deadline: float
    ) -> dns.message.Message:
        try:
            expiration = time.time() + _left(deadline)  # dnspython counts by the wall clock
            dns.query.send_tcp(connection, message, expiration)  # signs it, too
            answer = _received(connection, message, expiration)
        except (TimeoutError, dns.exception.Timeout):
            raise self._unreachable("no answer in time") from None
        except EOFError:
            raise self._unreachable(_meaning(ConnectionResetError())) from None
        except OSError as error:
            raise self._unreachable(_meaning(error)) from None
        except (dns.exception.FormError, dns.message.ShortHeader, dns.message.UnknownTSIGKey):
            raise self._unreachable("what answers there speaks no DNS") from None
        if not message.is_response(answer):
            raise self._unreachable("what answers there answers something else")
        return answer

    def _unreachable(self, cause: str) -> DnsProblem:
        message = f"Let the operator reach the DNS server {self.name} over TCP: {cause}."
        return DnsProblem(Finding(Reason.DNS_UNREACHABLE, message), transient=True)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _received(connection: socket.socket, message: dns.message.Message, expiration: float) -> dns.message.Message:
    """Read an answer, and verify its signature; an unsigned one is returned as such, for the error it may hold."""
    answer, _ = dns.query.receive_tcp(connection, expiration, keyring=False)  # type: ignore[arg-type]
    if not answer.had_tsig:
        return answer
    return dns.message.from_wire(answer.wire or b"", keyring=message.keyring, request_mac=message.mac)


def _meaning(error: Exception | None) -> str:
    match error:
        case ConnectionRefusedError():
            return "the connection is refused"
        case TimeoutError():
            return "no connection in time"
        case ConnectionError():
            return "it closed the connection without an answer"
        case OSError():
            return f"{error.strerror or 'the network failed'}".lower()
    return "it has no address"


def ask_all(query: dns.message.Message, addresses: Iterable[Address]) -> Mapping[Address, dns.message.Message]:
    """Ask all `addresses` at once over UDP; silent and unreachable ones are missing from the answers."""
    answers: dict[Address, dns.message.Message] = {}
    wire = query.to_wire()
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for address in addresses:
            with suppress(OSError):  # no route to this family from here
                datagrams = stack.enter_context(socket.socket(_family(address), socket.SOCK_DGRAM))
                datagrams.setblocking(False)
                datagrams.connect(address)  # only its own answers arrive, and refusals are reported
                selector.register(datagrams, selectors.EVENT_READ, address)
        for seconds in _UDP_SECONDS:
            _ask_again(selector, wire)
            _collect(selector, query, answers, time.monotonic() + seconds)
    until = time.monotonic() + _WHOLE_SECONDS
    return {
        address: whole
        for address, answer in answers.items()
        if (whole := _whole(query, address, answer, until)) is not None
    }


def gives_a_sign(query: dns.message.Message, address: Address) -> bool:
    """Whether a server that is silent over UDP answers, or refuses, over TCP; False when the connection times out."""
    try:
        dns.query.tcp(query, address.host, timeout=KNOCK_SECONDS, port=address.port)
    except (dns.exception.Timeout, TimeoutError):
        return False
    except ConnectionError:
        return True
    except OSError:
        return False  # no route to this family from here, or a router that says so
    except (EOFError, dns.exception.DNSException):
        return True
    return True


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


def _ask_again(selector: selectors.BaseSelector, wire: bytes) -> None:
    for waiting in tuple(selector.get_map().values()):
        with suppress(OSError):  # a refusal of the last datagram: the selector reports the same
            waiting.fileobj.send(wire)  # type: ignore[union-attr]


def _collect(
    selector: selectors.BaseSelector,
    query: dns.message.Message,
    answers: dict[Address, dns.message.Message],
    deadline: float,
) -> None:
    while selector.get_map() and (left := deadline - time.monotonic()) > 0:
        for ready, _ in selector.select(left):
            try:
                answer = dns.message.from_wire(ready.fileobj.recv(_LARGEST_DATAGRAM))  # type: ignore[union-attr]
            except OSError:
                selector.unregister(ready.fileobj)  # nobody listens there
                continue
            except dns.exception.DNSException:
                continue  # not an answer: the real one may follow
            if query.is_response(answer):
                selector.unregister(ready.fileobj)
                answers[ready.data] = answer


def _whole(
    query: dns.message.Message, address: Address, answer: dns.message.Message, until: float
) -> dns.message.Message | None:
    """Ask again over TCP what did not fit in a datagram (RFC 1035 section 4.2.1); None when the time is over."""
    if not answer.flags & dns.flags.TC:
        return answer
    with suppress(TimeoutError):
        seconds = min(_CONNECT_SECONDS, _left(until))
        with suppress(OSError, EOFError, dns.exception.DNSException):
            return dns.query.tcp(query, address.host, timeout=seconds, port=address.port)
        return answer
    return None
