"""What tenants' accounts may take of the operator's memory."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from builders.hostile_ca import CA, HostileCa, answer, hostile_ca
from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailtls.api.spec import Acme, DataRef, Key
from mailtls.issuance.acme.account import Account
from mailtls.issuance.acme.accounts import MOST_ACCOUNTS, Accounts
from mailtls.issuance.acme.order_rate import BudgetState
from mailtls.issuance.acme.orders import Uses
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.issuance.order_state import AuthorizationState, ChallengeState, OrderState
from mailtls.issuance.solvers.http01_server import MOST_TOKENS, PATH, Tokens

MEBIBYTE = 1 << 20
_LONG_AGO = "Fri, 01 May 2020 12:00:00 GMT"
_SERVER = "https://acme-v02.api.letsencrypt.org/directory"


def _acme(number: int, namespace: str) -> Acme:
    return Acme(_SERVER, f"a{number}@example.com", (), namespace=namespace)


def test_accounts_of_a_namespace_are_bounded_and_push_out_nobody_elses() -> None:
    """A namespace that names an address after the other forgets its own accounts only."""
    accounts = Accounts(FakeCluster(), "mailtls-system", WallClock(), lambda *_: None)
    installation, neighbour = accounts.of(_acme(0, "")), accounts.of(_acme(0, "mail"))
    for number in range(5 * MOST_ACCOUNTS):
        accounts.of(_acme(number, "evil"))
    assert accounts.held == 2 + MOST_ACCOUNTS
    assert accounts.of(_acme(0, "")) is installation
    assert accounts.of(_acme(0, "mail")) is neighbour


def test_account_that_no_resource_uses_is_forgotten() -> None:
    """Its resources are gone; the installation's account stays."""
    clock = WallClock()
    accounts = Accounts(FakeCluster(), "mailtls-system", clock, lambda *_: None)
    accounts.of(_acme(0, ""))
    accounts.of(_acme(0, "gone"))
    clock.advance(timedelta(days=1))
    accounts.of(_acme(0, "mail"))
    assert accounts.held == 2


def test_released_order_gives_its_token_back() -> None:
    """By the settings alone: neither the API server nor the CA is asked for it."""
    cluster = FakeCluster()
    accounts = Accounts(cluster, "mailtls-system", WallClock(), lambda *_: None)
    acme = _acme(0, "")
    limiter = accounts.of(acme).order_rate
    limiter.acquire("ticket", "mail")
    reads = len(cluster.reads)
    accounts.release(acme, "ticket")
    accounts.release(_acme(1, "never-seen"), "ticket")
    assert (len(cluster.reads), dict(limiter.tickets)) == (reads, {})


def test_budgets_of_limited_servers_are_shown_by_namespace() -> None:
    """Of two accounts of a namespace the one with less left; a server without a limit makes no series."""
    accounts = Accounts(FakeCluster(), "mailtls-system", WallClock(), lambda *_: None)
    accounts.of(_acme(0, "mail")).order_rate.acquire("one", "mail")
    accounts.of(_acme(1, "mail"))
    accounts.of(_acme(0, ""))
    accounts.of(Acme("https://ca.example/directory", "a@example.com", (), namespace="mail"))
    assert accounts.budgets() == {
        ("mail", _SERVER): BudgetState(limit=300, left=299, waiting=0),
        ("", _SERVER): BudgetState(limit=300, left=300, waiting=0),
    }


def test_renewals_that_are_asked_for_of_thousands_of_resources_end_the_waits_once_a_minute() -> None:
    """After a mass revocation: else every step of each of them would ask the CA again that asked us to wait."""
    clock = WallClock()
    accounts = Accounts(FakeCluster(), "mailtls-system", clock, lambda *_: None)
    acme = _acme(0, "")
    waits: list[Acme] = []
    accounts.look_again = waits.append  # type: ignore[method-assign, assignment]
    for _ in range(3):
        for number in range(3000):
            accounts.asked(acme, Key("mail", f"mx{number}"), "2026-11-30")
    assert len(waits) == 1
    clock.advance(timedelta(seconds=61))
    accounts.asked(acme, Key("mail", "mx8"), "2026-11-30")
    assert len(waits) == 1
    accounts.asked(acme, Key("mail", "mx7"), "2026-12-01")
    assert len(waits) == 2


@pytest.fixture
def ca() -> Iterator[HostileCa]:
    """A server of a tenant's own."""
    with hostile_ca() as running:
        yield running


def test_server_that_a_resource_names_says_nothing_of_the_clock(ca: HostileCa) -> None:
    """It would have a person set a clock that is right, and its hosts would make series without end."""
    directory = {each: f"{ca.url}/{path}" for each, path in (("newNonce", "nonce"), ("newAccount", "account"))}
    late = answer({**directory, "newOrder": f"{ca.url}/order"}, Date=_LONG_AGO)
    ca.answers |= {"/directory": late, "/theirs": late}
    bundle = DataRef("ConfigMap", "evil", "roots", "ca.crt")
    cluster = FakeCluster({"/api/v1/namespaces/evil/configmaps/roots": {"data": {"ca.crt": CA.roots_pem}}})
    heard: list[str] = []
    accounts = Accounts(
        cluster,
        "mailtls-system",
        WallClock(),
        lambda *_: None,
        default_server=ca.directory_url,
        default_ca_bundle_pem=CA.roots_pem,
        on_skew=lambda server, _seconds: heard.append(server),
    )
    theirs = Acme(f"{ca.url}/theirs", "a@example.com", (), ca_bundle=bundle, namespace="evil")
    assert accounts.of(theirs).url
    assert [each.path for each in ca.requests][:1] == ["/theirs"]
    assert heard == []
    assert accounts.of(ca.acme).url
    assert set(heard) == {"localhost"}


def _many(text: str) -> list[str]:
    """As many short texts as go into one answer."""
    return [text] * (MEBIBYTE // (len(text) + 4) - 100)


def _order(account: Account, ca: HostileCa) -> object:
    ca.answers["/x"] = answer({"status": "pending", "authorizations": _many("ab")})
    return account.poll(OrderState(f"{ca.url}/x"))


def _identifiers(account: Account, ca: HostileCa) -> object:
    identifiers = [{"value": f"{number:x}.a"} for number in range(40_000)]
    ca.answers["/x"] = answer({"status": "pending", "identifiers": identifiers})
    return account.poll(OrderState(f"{ca.url}/x"))


def _long_url(account: Account, ca: HostileCa) -> object:
    ca.answers["/x"] = answer({"status": "valid", "certificate": f"https://{'a' * (MEBIBYTE - 200)}"})
    return account.poll(OrderState(f"{ca.url}/x"))


def _challenges(account: Account, ca: HostileCa) -> object:
    challenge = {"type": "http-01", "url": f"{ca.url}/c", "token": "A" * 43}
    body = {"identifier": {"value": "mx.example"}, "challenges": [challenge] * 7_000}
    ca.answers["/x"] = answer(body)
    order = OrderState(f"{ca.url}/o", authorizations=(AuthorizationState(f"{ca.url}/x"),))
    return account.poll_authorization(order, f"{ca.url}/x")


def _token(account: Account, ca: HostileCa) -> object:
    challenge = {"type": "http-01", "url": f"{ca.url}/c", "token": "A" * (MEBIBYTE - 500)}
    ca.answers["/x"] = answer({"identifier": {"value": "mx.example"}, "challenges": [challenge]})
    order = OrderState(f"{ca.url}/o", authorizations=(AuthorizationState(f"{ca.url}/x"),))
    return account.poll_authorization(order, f"{ca.url}/x")


def _words(account: Account, ca: HostileCa) -> object:
    told = {"type": "urn:ietf:params:acme:error:dns", "detail": "x" * (MEBIBYTE - 500)}
    challenge = {"type": "http-01", "url": f"{ca.url}/c", "token": "A" * 43, "error": told}
    ca.answers["/x"] = answer(challenge)
    before = ChallengeState("http-01", f"{ca.url}/x", "A" * 43)
    order = OrderState(f"{ca.url}/o", authorizations=(AuthorizationState(f"{ca.url}/a", challenges=(before,)),))
    return account.request_validation(order, before)


def _directory(account: Account, ca: HostileCa) -> object:
    ca.directory |= {f"{number:x}": 0 for number in range(90_000)}
    return account.url


def _listed_orders(account: Account, ca: HostileCa) -> object:
    ca.answers["/account/1"] = answer({"orders": f"{ca.url}/x"})
    ca.answers["/x"] = answer({"orders": [f"{ca.url}/{number}" for number in range(8)]})
    identifiers = [{"value": f"{number}.a"} for number in range(400)]
    for number in range(8):
        ca.answers[f"/{number}"] = answer({"status": "pending", "identifiers": identifiers})
    return account.find_open(["mx.example"], datetime.now(UTC))


@pytest.mark.parametrize(
    "ask", [_order, _identifiers, _long_url, _challenges, _token, _words, _directory, _listed_orders]
)
def test_answer_of_a_server_takes_little_memory_for_as_long_as_it_is_known(
    ask: Callable[[Account, HostileCa], object], ca: HostileCa
) -> None:
    """Each is within the bounds of one answer; what is kept of it is kept for each resource of a tenant."""
    account = ca.account()
    kept: list[object] = []
    with suppress(AcmeProblem):
        kept.append(account.url)
    with suppress(AcmeProblem):
        kept.append(ask(account, ca))  # what the first request makes stays: connections, and the like
    with suppress(AcmeProblem):
        account = ca.account()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        try:
            kept.append(ask(account, ca))
        finally:
            ca.answers.clear()
            ca.directory.clear()
            ca.requests.clear()
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert taken < MEBIBYTE // 4


def test_orders_that_were_lost_leave_a_bounded_number_of_tokens_and_urls() -> None:
    """Whoever deletes his staged Secrets again and again takes no memory of others, nor their answers to a CA."""
    tokens, uses = Tokens(), Uses()
    for number in range(MOST_TOKENS + 100):
        tokens.present("mx.attacker.example", f"{number}", "x")
    assert tokens.answer("mx.attacker.example", f"{PATH}99") is None
    assert tokens.answer("mx.attacker.example", f"{PATH}100") == "x"
    long_url = f"https://ca.attacker.example/{'a' * 2000}"
    uses.note("https://ca.example/", "neighbour", OrderState("https://ca.example/order"))
    for number in range(6000):
        uses.note("https://ca.attacker.example/", f"{number}", OrderState(f"{long_url}{number}"))
    uses.note("https://ca.example/", "me", OrderState("https://ca.example/mine"))
    assert not uses.knows("neighbour"), "it is known again when its order is read the next time"
    assert uses.others("https://ca.example/", "other") == {"https://ca.example/mine"}
    assert 4900 < sum(uses.knows(f"{number}") for number in range(6000)) < 5000
    for number in range(6000):
        uses.forget(f"{number}")
    assert uses._characters == len("https://ca.example/mine")


def test_list_of_orders_that_never_ends_fills_no_memory(ca: HostileCa) -> None:
    """Every page leads to the next, each with as many URLs as go into one: the last ones are held."""
    pages: list[int] = []

    def page(handler: object) -> None:
        pages.append(len(pages))
        onward = {"Link": f'<{ca.url}/x>;rel="next"'} if len(pages) < 30 else {}
        body = answer({"orders": [f"{len(pages):02}{number:03}" for number in range(1000)]}, **onward)
        handler.wfile.write(body)  # type: ignore[attr-defined]

    ca.answers["/account/1"] = answer({"orders": f"{ca.url}/x"})
    ca.answers["/x"] = page
    urls = ca.account()._listing.urls()
    assert len(pages) == 30
    assert (len(urls), urls[0], urls[-1]) == (10_000, "30999", "21000")
