"""What a CA, a network and a crash can do to an order, against a real Pebble behind a proxy that goes wrong."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import structlog

from functional.acme_issuing import Client, Issuance, csr_for, issue
from functional.acme_proxy import Fault, Proxy, proxy_before
from functional.pebble import Options, Pebble, running_pebble
from mailtls.issuance.acme.problem import AcmeProblem, OrderGone
from mailtls.issuance.order import Download, Finalize, PollAuthorization, RequestValidation, next_action
from mailtls.issuance.order_state import OrderState, Status
from mailtls.reasons.reason import Reason

pytestmark = pytest.mark.pebble

_LOST = Fault(after_processing=True)


@pytest.fixture(scope="module")
def pebble() -> Iterator[Pebble]:
    """A Pebble that believes every proof."""
    with running_pebble() as running:
        yield running


@pytest.fixture
def proxy(pebble: Pebble) -> Iterator[Proxy]:
    """A proxy without faults yet."""
    with proxy_before(pebble) as running:
        yield running


def _client(proxy: Proxy) -> Client:
    client = Client(proxy.pebble, server=proxy.directory_url)
    assert client.account.url  # registered, so that faults meet the order
    return client


def _refusal(code: str, detail: str) -> str:
    return json.dumps({"type": f"urn:ietf:params:acme:error:{code}", "detail": detail})


def _issuance(client: Client, order: OrderState) -> Issuance:
    return Issuance(client.account, order, csr_for(order.identifiers), client.clock)


def test_lost_new_order_reply_is_found_again(proxy: Proxy) -> None:
    """When the reply to new-order is lost, the account's list, over pages, leads to the order: none is made twice."""
    client = _client(proxy)
    for number in range(7):
        issue(client, [f"other{number}.example.com"])
    before, began_at = proxy.pebble.orders_made(), client.clock.now()
    proxy.fail("/order-plz", _LOST)
    with pytest.raises(AcmeProblem) as caught:
        client.account.new_order(["lost.example.com", "lost2.example.com"])
    assert caught.value.transient
    client.restarted()
    found = client.account.find_open(["lost2.example.com", "lost.example.com"], began_at)
    assert found is not None
    assert isinstance(_issuance(client, found).run(), str)
    assert proxy.pebble.orders_made() == before + 1


def test_no_open_order_is_found_where_there_is_none(proxy: Proxy) -> None:
    """Orders of other names, issued ones and expired ones are not handed out; an issued one is on request."""
    client = _client(proxy)
    began_at = client.clock.now()
    issue(client, ["done.example.com"])
    client.account.new_order(["open.example.com"])
    assert client.account.find_open(["done.example.com"], began_at) is None
    issued = client.account.find_open(["done.example.com"], began_at, include_valid=True)
    assert issued is not None
    assert issued.status == Status.VALID
    assert client.account.find_open(["open.example.com"], began_at + timedelta(days=3)) is None
    assert client.account.find_open(["never.example.com"], began_at) is None


def test_each_listed_order_is_read_once(proxy: Proxy) -> None:
    """Looking for a second lost order does not read again the orders that are known to be of other names."""
    client = _client(proxy)
    for number in range(4):
        client.account.new_order([f"r{number}.example.com"])
    client.account.find_open(["never.example.com"], client.clock.now())
    before = client.requests["order", "200"]
    client.account.find_open(["again.example.com"], client.clock.now())
    assert client.requests["order", "200"] == before


def test_order_survives_an_answer_that_is_no_order(proxy: Proxy) -> None:
    """A new-order reply with a Location but a broken body still gives the URL, and the order goes on."""
    client = _client(proxy)
    real = client.account.new_order(["body.example.com"])
    proxy.fail("/order-plz", Fault(201, "<html>", {"Location": real.url}))
    order = client.account.new_order(["body.example.com"])
    assert (order.url, order.status) == (real.url, Status.UNREAD)
    assert isinstance(Issuance(client.account, order, csr_for(["body.example.com"]), client.clock).run(), str)


def test_order_of_other_names_is_refused(proxy: Proxy) -> None:
    """An order that the CA made for other names is not used (the names are compared, not trusted)."""
    client = _client(proxy)
    body = json.dumps({"status": "pending", "identifiers": [{"type": "dns", "value": "evil.example.com"}]})
    proxy.fail("/order-plz", Fault(201, body, {"Location": "https://ca.example/order/1"}))
    with pytest.raises(AcmeProblem, match=r"evil\.example\.com instead of good\.example\.com") as caught:
        client.account.new_order(["good.example.com"])
    assert caught.value.finding.reason is Reason.ORDER_REJECTED


def test_lost_finalize_reply_continues_the_same_order(proxy: Proxy) -> None:
    """When the reply to finalize is lost, the order read again is on its way or done; it is not ordered twice."""
    client, before = _client(proxy), proxy.pebble.orders_made()
    issuance = _issuance(client, client.account.new_order(["fin.example.com"]))
    proxy.fail("/finalize-order/", _LOST)
    with pytest.raises(AcmeProblem) as caught:
        issuance.run()
    assert caught.value.transient
    issuance.account = client.restarted().of(client.acme)
    issuance.order = issuance.account.resume(issuance.order.url)
    assert issuance.order.status in {Status.PROCESSING, Status.VALID}
    assert isinstance(issuance.run(), str)
    assert len([action for action in issuance.actions if isinstance(action, Finalize)]) == 1
    assert proxy.pebble.orders_made() == before + 1


@pytest.mark.parametrize("path", ["/authZ/", "/chalZ/", "/finalize-order/", "/my-order/", "/certZ/"])
@pytest.mark.parametrize("fault", [Fault(), _LOST, Fault(500, "oops"), Fault(502), Fault(200, "<html>")], ids=str)
def test_any_broken_reply_is_survived_by_resuming(proxy: Proxy, path: str, fault: Fault) -> None:
    """A cut connection, a lost reply, a server error or a proxy's page at any step leaves the order to go on."""
    client, before = _client(proxy), proxy.pebble.orders_made()
    issuance = _issuance(client, client.account.new_order(["any.example.com"]))
    proxy.fail(path, fault)
    with pytest.raises(AcmeProblem) as caught:
        issuance.run()
    assert caught.value.transient
    assert caught.value.finding.reason is Reason.ACME_UNREACHABLE
    issuance.order = client.account.resume(issuance.order.url)
    assert isinstance(issuance.run(), str)
    assert proxy.pebble.orders_made() == before + 1


def test_answering_again_after_a_crash_goes_on(pebble: Pebble) -> None:
    """A challenge that was answered before a crash is answered again, refused as done, and the order continues."""
    client = Client(pebble)
    issuance = _issuance(client, client.account.new_order(["twice.example.com"]))
    while not isinstance(action := issuance.next(), RequestValidation):
        issuance.perform(action)
    client.account.request_validation(issuance.order, action.challenge)
    issuance.perform(action)
    assert isinstance(issuance.run(), str)


def test_order_that_is_not_ready_is_read_again(pebble: Pebble) -> None:
    """Finalizing too early is answered by orderNotReady; the order is read and goes on from what it is."""
    client = Client(pebble)
    order = client.account.finalize(client.account.new_order(["early.example.com"]), csr_for(["early.example.com"]))
    assert (order.status, order.finalize_tries) == (Status.PENDING, 1)
    assert isinstance(_issuance(client, order).run(), str)


def test_resumed_order_knows_what_to_do_next(pebble: Pebble) -> None:
    """After each action a new process that has only the URL comes to the same certificate."""
    client = Client(pebble)
    issuance = _issuance(client, client.account.new_order(["step.example.com"]))
    while not isinstance(action := issuance.next(), Download):
        issuance.perform(action)
        issuance.account = client.restarted().of(client.acme)
        issuance.order = issuance.account.resume(issuance.order.url)
    assert issuance.account.download(issuance.order).chain_pem.startswith("-----BEGIN CERTIFICATE")
    assert client.requests["new-order", "201"] == 1


def test_resumed_order_does_not_answer_what_was_answered(pebble: Pebble) -> None:
    """With the answered challenges given, resuming a pending order polls instead of answering once more."""
    client = Client(pebble)
    issuance = _issuance(client, client.account.new_order(["known.example.com"]))
    while not isinstance(action := issuance.next(), RequestValidation):
        issuance.perform(action)
    resumed = client.account.resume(issuance.order.url, requested=frozenset({action.challenge.url}))
    following = next_action(
        resumed, issuance.presented, lambda _name: "dns-01", client.clock.now(), resumed.identifiers
    )
    assert isinstance(following, PollAuthorization)


def test_forgetful_ca_gets_one_new_registration() -> None:
    """A CA that lost its memory is registered with again, once; its old order is gone and a new one works."""
    with running_pebble() as pebble:
        client = Client(pebble)
        order = client.account.new_order(["memory.example.com"])
        pebble.kill()
        with pytest.raises(AcmeProblem) as caught:
            client.account.poll(order)
        assert caught.value.transient
        assert "the connection is refused" in str(caught.value)
        pebble.start()
        with pytest.raises(OrderGone):
            client.account.poll(order)
        issue(client, ["memory.example.com"])
        assert client.requests["new-account", "201"] == 2
        assert client.requests["order", "unreachable"] == 1


def test_account_closed_by_the_ca_needs_a_person(proxy: Proxy) -> None:
    """An account that the CA says is deactivated is not registered over and over."""
    client = Client(proxy.pebble, server=proxy.directory_url)
    headers = {"Location": "https://ca.example/acct/1"}
    proxy.fail("/sign-me-up", Fault(200, json.dumps({"status": "deactivated"}), headers))
    with pytest.raises(AcmeProblem, match="deactivated") as caught:
        client.account.new_order(["closed.example.com"])
    assert caught.value.finding.reason is Reason.ACCOUNT_REJECTED
    assert caught.value.needs_person


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_overloaded_ca_is_left_alone_until_it_said(proxy: Proxy, form: str) -> None:
    """After a 503 with Retry-After no request of the account goes out before that time."""
    client = _client(proxy)
    order = client.account.new_order(["open.example.com"])
    wanted = datetime.now(UTC) + timedelta(seconds=120)
    value = "120" if form == "seconds" else format_datetime(wanted, usegmt=True)
    proxy.fail("/order-plz", Fault(503, "busy", {"Retry-After": value}))
    with pytest.raises(AcmeProblem) as caught:
        client.account.new_order(["busy.example.com"])
    assert caught.value.transient
    assert caught.value.retry_at is not None
    assert abs(caught.value.retry_at - wanted) < timedelta(seconds=30)
    before = len(proxy.passed)
    with pytest.raises(AcmeProblem) as again:
        client.account.new_order(["calm.example.com"])
    assert again.value.retry_at is not None
    assert abs(again.value.retry_at - caught.value.retry_at) < timedelta(seconds=1)
    with pytest.raises(AcmeProblem):
        client.account.poll(order)
    assert len(proxy.passed) == before
    client.clock.advance(timedelta(seconds=121))
    assert client.account.new_order(["calm.example.com"]).url


@pytest.mark.parametrize("minutes", [2, -2], ids=["ahead", "behind"])
def test_clock_that_is_wrong_is_measured_and_told_once(pebble: Pebble, minutes: int) -> None:
    """The Date of each answer tells; the log hears of it when it begins and when it ends."""
    client = Client(pebble)
    with structlog.testing.capture_logs() as logs:
        client.account.new_order(["right.example.com"])
        assert client.skews[-1] == ("127.0.0.1", 0.0)
        client.clock.advance(timedelta(minutes=minutes))
        client.account.new_order(["wrong.example.com"])
        server, seconds = client.skews[-1]
        assert seconds == pytest.approx(60 * minutes, abs=30)
        client.account.new_order(["still.example.com"])
        client.clock.advance(timedelta(minutes=-minutes))
        client.account.new_order(["again.example.com"])
    told = [each["log_level"] for each in logs if "clock" in each["event"]]
    assert told == ["warning", "info"]
    assert server == "127.0.0.1"


def test_limit_of_the_account_stops_its_orders_only(proxy: Proxy) -> None:
    """When the account ordered too much, other orders wait as well, but open ones go on."""
    client = _client(proxy)
    issuance = _issuance(client, client.account.new_order(["going.example.com"]))
    detail = "too many new orders (300) from this account in the last 3h0m0s"
    proxy.fail("/order-plz", Fault(429, _refusal("rateLimited", detail), {"Retry-After": "3600"}))
    for name in ("first.example.com", "second.example.com"):
        with pytest.raises(AcmeProblem, match="too many new orders") as caught:
            client.account.new_order([name])
        assert caught.value.finding.reason is Reason.RATE_LIMITED
        assert not caught.value.transient
    assert client.requests["new-order", "429"] == 1
    assert isinstance(issuance.run(), str)


def test_limit_of_one_domain_leaves_other_orders_alone(proxy: Proxy) -> None:
    """A limit that counts for one set of names says when to try again, and other names are ordered meanwhile."""
    client = _client(proxy)
    detail = "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s"
    proxy.fail("/order-plz", Fault(429, _refusal("rateLimited", detail), {"Retry-After": "100000"}))
    with pytest.raises(AcmeProblem) as caught:
        client.account.new_order(["limited.example.com"])
    assert caught.value.retry_at is not None
    assert timedelta(minutes=59) < caught.value.retry_at - client.clock.now() <= timedelta(hours=1)  # not the 28 named
    assert client.account.new_order(["free.example.com"]).url


def test_pause_needs_a_person_and_keeps_its_link(proxy: Proxy) -> None:
    """Boulder's pause comes as a rate limit; the message holds the whole link that ends it."""
    client = _client(proxy)
    link = f"https://portal.letsencrypt.org/sfe/v1/unpause?jwt={'x' * 600}"
    detail = (
        f"Your account is temporarily prevented from requesting certificates for p.example.com. Please visit: {link}"
    )
    proxy.fail("/order-plz", Fault(429, _refusal("rateLimited", detail)))
    with pytest.raises(AcmeProblem) as caught:
        client.account.new_order(["p.example.com"])
    assert caught.value.finding.reason is Reason.ACCOUNT_PAUSED
    assert caught.value.needs_person
    assert link in caught.value.finding.message


def test_endless_bad_nonces_end_as_a_problem(proxy: Proxy) -> None:
    """A CA that rejects every nonce is given up after some tries, not asked for ever."""
    client = _client(proxy)
    proxy.fail("/order-plz", *[Fault(400, _refusal("badNonce", "no"))] * 30)
    with pytest.raises(AcmeProblem) as caught:
        client.account.new_order(["nonce.example.com"])
    assert caught.value.transient
    assert client.requests["new-order", "400"] == 10


def test_retry_after_of_an_authorization_is_honoured() -> None:
    """Polls wait as long as the CA says, whether in seconds or as a date."""
    with running_pebble(Options(always_valid=False, config={"retryAfter": {"authz": 300, "order": 5}})) as pebble:
        client = Client(pebble)
        issuance = _issuance(client, client.account.new_order(["wait.example.com"]))
        while not isinstance(action := issuance.next(), PollAuthorization) or not issuance.order.requested:
            issuance.perform(action)
        for _ in range(8):  # Pebble draws the form of the header
            issuance.order = client.account.poll_authorization(issuance.order, action.url)
            authorization = issuance.order.authorizations[0]
            if authorization.status != Status.PENDING:
                break
            assert authorization.poll_at is not None
            wait = (authorization.poll_at - client.clock.now()).total_seconds()
            assert 250 < wait <= 300.01


def test_untrusted_ca_names_the_setting(pebble: Pebble) -> None:
    """Without the CA's root the connection is refused by us, and the message names spec.acme.caBundle."""
    client = Client(replace(pebble, roots_pem=""))
    with pytest.raises(AcmeProblem, match=r"spec\.acme\.caBundle") as caught:
        client.account.new_order(["tls.example.com"])
    assert caught.value.finding.reason is Reason.ACME_TLS_UNTRUSTED
    assert caught.value.transient


def test_url_that_is_no_directory_is_named(pebble: Pebble) -> None:
    """A server URL that answers something else than a directory is named in the message."""
    client = Client(pebble, server=f"https://127.0.0.1:{pebble.management_port}/roots/0")
    with pytest.raises(AcmeProblem, match="/roots/0 is an ACME directory") as caught:
        client.account.new_order(["dir.example.com"])
    assert caught.value.finding.reason is Reason.ACME_UNREACHABLE


def test_proxy_of_the_environment_is_used_unless_the_host_is_excepted(
    pebble: Pebble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTPS_PROXY is the way out where it is set, and NO_PROXY is honoured."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(AcmeProblem) as caught:
        Client(pebble).account.new_order(["proxied.example.com"])
    assert caught.value.finding.reason is Reason.ACME_UNREACHABLE
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert Client(pebble).account.new_order(["direct.example.com"]).url
