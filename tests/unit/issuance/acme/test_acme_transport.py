"""Requests to an ACME server that is a stranger: bounded in time and size, https on every hop, judged addresses."""

import gzip
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.hostile_ca import CA, PROBLEM, HostileCa, answer, hostile_ca
from mailtls.controller.election import Leadership, LeadershipLost
from mailtls.issuance.acme import transport
from mailtls.issuance.acme.directory import read_directory
from mailtls.issuance.acme.orders import certificate_id
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.issuance.acme.transport import LARGEST_BODY
from mailtls.issuance.order_state import AuthorizationState, ChallengeState, OrderState, Status
from mailtls.net.addresses import AddressPolicy, parse_networks
from mailtls.net.effects import guarded
from mailtls.reasons.quoting import printable
from mailtls.reasons.reason import Reason


def _leaf_with_key_identifier() -> str:
    """What CAs with renewal information issue (RFC 9773 section 4.1)."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    builder = x509.CertificateBuilder(x509.Name([]), x509.Name([]), key.public_key(), 7)
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=9))
    identifier = x509.AuthorityKeyIdentifier(b"identifier", None, None)
    leaf = builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256())
    return leaf.public_bytes(Encoding.PEM).decode()


LEAF = _leaf_with_key_identifier()
NAMES = ["mx.example.com"]


@pytest.fixture
def ca() -> Iterator[HostileCa]:
    """A CA that is good until a test says otherwise."""
    with hostile_ca() as running:
        yield running


def problem_of(ca: HostileCa, **options: Any) -> AcmeProblem:
    """Order, and return what stood in the way."""
    with pytest.raises(AcmeProblem) as caught:
        ca.account(**options).new_order(NAMES)
    return caught.value


def test_packed_answer_is_not_unpacked(ca: HostileCa) -> None:
    """A small body could fill all memory."""
    ca.answers["/directory"] = answer(gzip.compress(b"{}"), Content_Encoding="gzip")
    problem = problem_of(ca)
    assert problem.finding.reason is Reason.ACME_UNREACHABLE
    assert "it compresses its answer" in problem.finding.message


@pytest.mark.parametrize("is_told", [True, False])
def test_answer_over_one_mebibyte_is_read_no_further(ca: HostileCa, is_told: bool) -> None:
    """Whether its length is told or not."""
    sent: list[int] = []

    def flood(handler: socketserver.StreamRequestHandler) -> None:
        length = b"Content-Length: 1000000000\r\n" if is_told else b""
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n%sConnection: close\r\n\r\n" % length)
        for _ in range(1000):
            handler.wfile.write(bytes(1 << 16))
            sent.append(1 << 16)

    ca.answers["/directory"] = flood
    problem = problem_of(ca)
    assert "its answer is larger than 1 MiB" in problem.finding.message
    assert sum(sent) < 16 * LARGEST_BODY


@pytest.mark.parametrize("place", ["head", "body", "handshake"])
def test_server_that_drips_does_not_hold_a_worker(ca: HostileCa, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One limit holds for the whole request: each octet that comes wins no time."""
    monkeypatch.setattr(transport, "REQUEST_SECONDS", 0.5)
    over = threading.Event()

    def drip(handler: socketserver.StreamRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        if place == "body":
            handler.wfile.write(b"Content-Length: 100000\r\n\r\n")
        while not over.wait(0.05):
            handler.wfile.write(b"X-Padding: 1\r\n" if place == "head" else b" ")

    ca.answers["/directory"] = drip
    if place == "handshake":
        with socket.create_server(("127.0.0.1", 0)) as silent:
            ca.port = silent.getsockname()[1]
            problem = problem_of(ca)
    else:
        problem = problem_of(ca)
        over.set()
    assert problem.finding.reason is Reason.ACME_UNREACHABLE
    assert "in time" in problem.finding.message
    assert problem.transient


def test_lookup_that_hangs_ends_with_the_request(ca: HostileCa, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's resolver may take minutes; nobody waits for it."""
    over = threading.Event()
    monkeypatch.setattr(transport, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: over.wait() and [])
    assert "no connection in time" in problem_of(ca).finding.message
    over.set()


def test_redirects_of_a_directory_are_followed_within_limits(ca: HostileCa) -> None:
    """To https, and not for ever."""
    ca.answers["/directory"] = answer(status="302 Found", Location="/there")
    ca.answers["/there"] = ca.fine("/directory")
    assert ca.session().directory()["newOrder"] == f"{ca.url}/order"
    ca.answers["/there"] = answer(status="302 Found", Location="/directory")
    assert "redirects more than 5 times" in problem_of(ca).finding.message


def test_redirect_to_http_is_not_followed(ca: HostileCa) -> None:
    """Nobody on the way may answer in the authority's place, nor a service that speaks no TLS be reached."""
    with socket.create_server(("127.0.0.1", 0)) as inner:
        inner.settimeout(0.0)
        url = f"http://127.0.0.1:{inner.getsockname()[1]}/latest/meta-data/"
        ca.answers["/directory"] = answer(status="302 Found", Location=url)
        problem = problem_of(ca)
        with pytest.raises(BlockingIOError):
            inner.accept()
    assert problem.finding.reason is Reason.ACME_INSECURE
    assert url in problem.finding.message


def test_signed_requests_follow_no_redirect(ca: HostileCa) -> None:
    """A signature is for one URL."""
    ca.answers["/order"] = answer(status="307 Temporary Redirect", Location=f"{ca.url}/elsewhere")
    assert problem_of(ca).finding.message.endswith("HTTP status 307.")
    assert "/elsewhere" not in {each.path for each in ca.requests}


@pytest.mark.parametrize("name", ["newNonce", "newAccount", "newOrder", "renewalInfo", "keyChange"])
@pytest.mark.parametrize("url", ["http://localhost:1/x", "ftp://localhost/", "//localhost/", "", "https://", "{}"])
def test_directory_that_names_no_https_url_is_refused(ca: HostileCa, name: str, url: str) -> None:
    """RFC 8555 section 6.1: none of its URLs is used."""
    ca.directory[name] = url
    assert problem_of(ca).finding.reason is Reason.ACME_INSECURE
    assert {each.path for each in ca.requests} == {"/directory"}


def test_url_of_an_order_that_is_no_https_is_not_asked(ca: HostileCa) -> None:
    """Orders, authorizations, challenges, certificates: the same for all."""
    inner = "http://127.0.0.1:1/x"
    account, order = ca.account(), OrderState(inner, certificate_url=inner, finalize_url=inner)
    authorization = AuthorizationState(inner, challenges=(ChallengeState("http-01", inner, "A" * 43),))
    order = OrderState(inner, authorizations=(authorization,), certificate_url=inner)
    for ask in (
        lambda: account.poll(order),
        lambda: account.download(order),
        lambda: account.poll_authorization(order, inner),
        lambda: account.request_validation(order, authorization.challenges[0]),
    ):
        with pytest.raises(AcmeProblem) as caught:
            ask()
        assert caught.value.finding.reason is Reason.ACME_INSECURE


def test_address_that_the_policy_refuses_is_not_dialled(ca: HostileCa) -> None:
    """The name is resolved, what it leads to is judged, and the message says how to admit it."""
    problem = problem_of(ca, policy=AddressPolicy())
    assert problem.finding.reason is Reason.ADDRESS_REFUSED
    assert "its address 127.0.0.1 is a loopback address" in problem.finding.message
    assert "connections.allowedNetworks" in problem.finding.message
    assert problem.transient
    assert ca.requests == []
    here = AddressPolicy(parse_networks(["127.0.0.0/8"]))
    assert ca.account(policy=here).url == f"{ca.url}/account/1"


def test_judged_address_is_the_one_that_is_dialled(ca: HostileCa, monkeypatch: pytest.MonkeyPatch) -> None:
    """The DNS is asked once, so that it has no second answer to give; refused addresses among others are left out."""
    port, asked = ca.port, []
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("169.254.169.254", "127.0.0.1")
    ]

    def look_up(host: str, *_args: object, **_options: object) -> object:
        asked.append(host)
        return found

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    here = AddressPolicy(parse_networks(["127.0.0.0/8"]))
    assert ca.session(policy=here).directory()["newOrder"] == f"{ca.url}/order"
    assert asked == ["localhost"]


def test_certificate_is_checked_against_the_name(ca: HostileCa) -> None:
    """An address that a name led to is not what the certificate has to be for; nor is another name."""
    ca.answers["/directory"] = ca.fine("/directory").replace(b"localhost", b"127.0.0.1")
    with pytest.raises(AcmeProblem) as caught:
        assert ca.session().account_url
    assert caught.value.finding.reason is Reason.ACME_TLS_UNTRUSTED


def test_words_of_other_servers_are_not_told(ca: HostileCa) -> None:
    """What is no problem document of ACME may be an answer of a service that is none of the reader's business."""
    secret = {"type": "x", "detail": "internal secret: token=abc123"}
    ca.answers["/order"] = answer(secret, "403 token=abc123")
    assert problem_of(ca).finding.message.endswith("HTTP status 403.")
    ca.answers["/order"] = answer(secret, "403 Forbidden", kind=PROBLEM)
    assert "token=abc123" in problem_of(ca).finding.message


def test_words_of_a_ca_cannot_steer_a_terminal(ca: HostileCa) -> None:
    """Escapes, line ends and marks that turn the direction of writing are shown, not obeyed."""
    detail = "\x1b]0;x\x07\x1b[2J\r\nReady=True \u202egnirts\u200b"
    ca.answers["/order"] = answer({"type": "urn:ietf:params:acme:error:malformed", "detail": detail}, "400 Bad Request")
    message = problem_of(ca).finding.message
    assert message.isprintable()
    assert r"\x1b]0;x\x07\x1b[2J\x0d\x0aReady=True \u202egnirts\u200b" in message


@given(st.text())
def test_printable_text_is_printable_and_letters_stay(text: str) -> None:
    """Of any language."""
    assert printable(text).isprintable()
    assert printable(text).encode().decode() == printable(text)  # no lone surrogate is left
    assert printable("Größe: 証明書 ✓") == "Größe: 証明書 ✓"


def test_leader_whose_lease_ended_while_it_connected_sends_nothing(ca: HostileCa) -> None:
    """The handshake took until then: what was checked before it is checked again before the first octet."""
    dials: list[str] = []  # for the directory, a nonce, and the registration, which the CA counts

    class Watched(AddressPolicy):
        __slots__ = ()

        def refusal(self, address: str, port: int) -> str | None:
            dials.append(address)
            return None

    leadership = Leadership(monotonic=lambda: 100.0 if len(dials) > 2 else 0.0)
    leadership.extend(10.0)
    account = ca.account(policy=Watched())
    with guarded(leadership.require), pytest.raises(LeadershipLost):
        account.new_order(NAMES)
    assert len(dials) == 3
    assert [each.path for each in ca.requests] == ["/directory", "/nonce"]


def _tunnel(handler: socketserver.StreamRequestHandler) -> None:
    """Do what an HTTP proxy does when it is asked to CONNECT (RFC 9110 section 9.3.6)."""
    host, port = handler.rfile.readline().split()[1].decode().rsplit(":", 1)
    while handler.rfile.readline() not in {b"\r\n", b""}:
        pass
    with socket.create_connection((host, int(port))) as there:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        here: socket.socket = handler.connection
        back = threading.Thread(target=_pour, args=(there, here))
        back.start()
        _pour(here, there)
        back.join()


def _pour(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def test_proxy_of_the_installation_decides_where_it_leads(ca: HostileCa, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own address is the installation's word; the certificate is checked against the CA's name all the same."""
    asked: list[int] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(1)
            _tunnel(self)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as proxy:
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02}).start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_address[1]}")
        assert ca.account(policy=AddressPolicy()).url == f"{ca.url}/account/1"
        proxy.shutdown()
    assert len(asked) == len(ca.requests) == 3


def test_preflight_takes_the_same_care(ca: HostileCa) -> None:
    """The command line reads directories with the same limits."""
    ca.answers["/directory"] = answer(gzip.compress(b"{}"), Content_Encoding="gzip")
    assert read_directory(ca.directory_url, CA.roots_pem).failure.startswith("it compresses its answer")
    del ca.answers["/directory"]
    ca.directory["meta"] = {"caaIdentities": ["\ud800", "CA.example", 7], "profiles": {"\x1b[2J": "", "short": ""}}
    found = read_directory(ca.directory_url, CA.roots_pem)
    assert (found.failure, found.caa_identities) == ("", (r"\ud800", "ca.example"))
    assert found.profiles == (r"\x1b[2J", "short")


_WORDS = """status identifiers identifier value type authorizations challenges url token error detail subproblems
expires finalize certificate profile wildcard newNonce newOrder newAccount meta profiles orders start end"""
_KEYS = st.sampled_from(_WORDS.split())
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("https://localhost:1/"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=12,
)
dates = st.sampled_from(["Fri, 31 Dec 9999 23:59:59 -2300", "Mon, 01 Jan 0001 00:00:00 +2300", "9" * 5000, "-1", "1e9"])
headers = st.dictionaries(
    st.sampled_from(["Retry-After", "Date", "Location", "Link", "Replay-Nonce", "Content-Type", "Set-Cookie", "Age"]),
    dates | st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=30) | st.just('<x>;rel="next"'),
    max_size=4,
)
bodies = (
    json_values.map(lambda value: answer(value).partition(b"\r\n\r\n")[2])
    | st.binary(max_size=60)
    | st.sampled_from([b"[" * 100_000, b"9" * 10_000, b'"\\ud800"', b"{" * 10, b"-----BEGIN CERTIFICATE-----\n"])
)


@pytest.fixture(scope="module")
def garbage() -> Iterator[HostileCa]:
    """One server for all examples."""
    with hostile_ca() as running:
        yield running


@settings(max_examples=30)
@given(st.integers(100, 999), st.sampled_from(["", PROBLEM]), headers, bodies, st.sampled_from(range(10)))
def test_whatever_a_server_answers_has_a_named_reason(
    garbage: HostileCa, status: int, kind: str, headers: dict[str, str], body: bytes, place: int
) -> None:
    """No header, date, status or body raises anything but an `AcmeProblem`."""
    ca, url = garbage, f"{garbage.url}/garbage"
    garbage.answers.clear()
    garbage.directory["renewalInfo"] = f"{url}/ari"
    account = garbage.account()
    given_headers = {"Content-Type": kind} | headers
    raw = answer(body, f"{status} x", **{name.replace("-", "_"): value for name, value in given_headers.items()})
    authorization = AuthorizationState(url, challenges=(ChallengeState("http-01", url, "A" * 43),))
    order = OrderState(url, Status.PENDING, authorizations=(authorization,), certificate_url=url, finalize_url=url)
    ca.answers.update(dict.fromkeys(["/garbage", ["/directory", "/nonce", "/account", "/order"][place % 4]], raw))
    ca.answers[f"/garbage/ari/{certificate_id(x509.load_pem_x509_certificate(LEAF.encode()))}"] = raw
    ca.answers["/account/1"] = raw
    asks: list[Any] = [
        lambda: account.new_order(NAMES),
        lambda: account.poll(order),
        lambda: account.poll_authorization(order, url),
        lambda: account.request_validation(order, authorization.challenges[0]),
        lambda: account.download(order, "A root"),
        lambda: list(account._listing._pages()),
        lambda: account.resume(url),
        lambda: account.deactivate(order),
        lambda: account.renewal_window(LEAF),
        lambda: account.find_open(NAMES, datetime.now(UTC)),
    ]
    with suppress(AcmeProblem):
        asks[place]()


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"suggestedWindow": 7}', b'{"orders": 7}'])
def test_window_that_is_none_has_a_named_reason(ca: HostileCa, body: bytes) -> None:
    """Renewal goes by the lifetime then."""
    ca.directory["renewalInfo"] = f"{ca.url}/ari"
    ca.answers[f"/ari/{certificate_id(x509.load_pem_x509_certificate(LEAF.encode()))}"] = answer(body)
    with pytest.raises(AcmeProblem) as caught:
        ca.account().renewal_window(LEAF)
    assert caught.value.transient


@pytest.mark.parametrize(
    ("url", "kept"), [("https://ca.example/why", True), ("javascript:x", False), ("\x1b[2J", False), (7, False)]
)
def test_explanation_of_a_window_is_a_url_that_people_may_follow(ca: HostileCa, url: object, kept: bool) -> None:
    """It stands in the status and in messages."""
    window = {"start": "2026-12-01T00:00:00Z", "end": "2026-12-02T00:00:00Z"}
    ca.directory["renewalInfo"] = f"{ca.url}/ari"
    name = certificate_id(x509.load_pem_x509_certificate(LEAF.encode()))
    ca.answers[f"/ari/{name}"] = answer({"suggestedWindow": window, "explanationURL": url})
    found = ca.account().renewal_window(LEAF)
    assert found is not None
    assert found.explanation_url == (url if kept else None)


@pytest.mark.parametrize("where", ["http://localhost:1/x", "ftp://localhost/", "https://["])
def test_places_of_accounts_and_orders_are_https(ca: HostileCa, where: str) -> None:
    """What is kept in a Secret and asked again later is checked before; a relative one is made whole."""
    ca.answers["/order"] = answer({}, "201 Created", Location=where)
    assert problem_of(ca).finding.reason is Reason.ACME_INSECURE
    ca.answers["/order"] = answer({}, "201 Created", Location="/order/7")
    assert ca.account().new_order(NAMES).url == f"{ca.url}/order/7"
    ca.answers["/account"] = answer({}, "201 Created", Location=where)
    assert problem_of(ca).finding.reason is Reason.ACME_INSECURE


@pytest.mark.parametrize("listed", [7, "x", {"a": 1}, [7, None]])
def test_list_of_orders_that_is_none_has_a_named_reason(ca: HostileCa, listed: object) -> None:
    """No order is found, and none is made twice for it."""
    ca.answers["/account/1"] = answer({"orders": f"{ca.url}/orders"})
    ca.answers["/orders"] = answer({"orders": listed})
    with suppress(AcmeProblem):
        assert ca.account().find_open(NAMES, datetime.now(UTC)) is None
