"""A CA that cannot be reached is left alone for a growing time, and takes nobody's time meanwhile."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime, timedelta
from itertools import islice
from socketserver import StreamRequestHandler

import pytest

from builders.hostile_ca import HostileCa, answer, hostile_ca, refusal
from fakes.clock import WallClock
from mailtls.api.spec import Key
from mailtls.issuance.acme import accounts as accounts_module
from mailtls.issuance.acme import session
from mailtls.issuance.acme.accounts import Accounts
from mailtls.issuance.acme.breaker import MOST_SERVERS, TRIES, Breaker, Gates
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.net.effects import ReconcileEnded, guarded, within
from mailtls.reasons.reason import Reason

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
PATIENCE = timedelta(seconds=10)
NAMES = ["mx.example.com"]
MX = Key("mail", "mx")


@pytest.fixture
def ca() -> Iterator[HostileCa]:
    """A CA that is good until a test says otherwise."""
    with hostile_ca() as running:
        yield running


@pytest.fixture
def gone(ca: HostileCa) -> int:
    """Let the CA be gone: nobody listens where it was; returns the port where it comes back."""
    port = ca.port
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ca.port = int(taken.getsockname()[1])
    return port


def _after(failures: int, known: Breaker | None = None, now: datetime = NOW) -> Breaker:
    known = known or Breaker()
    for _ in range(failures):
        known = known.sent(now).failed(now, "no connection in time", 0.0)
    return known


def test_server_is_left_alone_after_a_few_failures_in_a_row() -> None:
    """The first ones may be a moment's trouble; whoever answers between begins the count anew."""
    assert _after(TRIES - 1).admits(NOW)
    assert not _after(TRIES).admits(NOW)
    assert _after(TRIES - 1, Breaker()).admits(NOW)


def test_time_grows_up_to_five_minutes() -> None:
    """Each round that finds nobody doubles it."""
    known, now, waits = _after(TRIES), NOW, []
    for _ in range(8):
        assert known.until is not None
        waits.append((known.until - now).total_seconds())
        now = known.until
        known = known.sent(now).failed(now, "", 0.0)
    assert waits == [15, 30, 60, 120, 240, 300, 300, 300]


def test_one_request_looks_when_the_time_has_come() -> None:
    """The others come again when it must have ended."""
    known = _after(TRIES)
    assert known.until is not None
    looking = known.sent(known.until)
    assert not looking.admits(known.until + timedelta(seconds=1))
    assert looking.next_try_at(known.until, PATIENCE) == known.until + PATIENCE
    assert looking.unsettled().admits(known.until)


def test_failures_that_were_under_way_say_nothing_new() -> None:
    """Sixteen workers that time out together are one failure to the length of the wait."""
    known = _after(TRIES)
    assert known.failed(NOW, "", 0.0) == known


def test_who_asks_is_let_through_at_once() -> None:
    """A person's request does not wait, and does not open the door to all the others."""
    known = _after(TRIES).hurried(NOW)
    assert known.admits(NOW)
    assert not known.sent(NOW).admits(NOW)
    assert Breaker().hurried(NOW) == Breaker()


def test_gates_are_bounded() -> None:
    """Tenants write the URLs."""
    gates = Gates(lambda: NOW)
    first = gates.of("https://ca.example/dir")
    for number in range(2 * MOST_SERVERS):
        gates.of(f"https://{number}.example/dir")
        assert gates.of("https://ca.example/dir") is first
    assert len(gates._gates) == MOST_SERVERS


def _problem(ca: HostileCa, accounts: Accounts) -> AcmeProblem:
    with pytest.raises(AcmeProblem) as caught:
        accounts.of(ca.acme).new_order(NAMES)
    return caught.value


def test_ca_that_is_gone_is_left_alone_and_found_again(ca: HostileCa, gone: int) -> None:
    """The message says when the next try is; one request finds that the CA is back, and all go on."""
    clock = WallClock()
    accounts = ca.accounts(clock)
    for _ in range(TRIES):
        assert "the connection is refused" in _problem(ca, accounts).finding.message
    problem = _problem(ca, accounts)
    assert problem.finding.reason is Reason.ACME_UNREACHABLE
    assert problem.transient
    assert problem.retry_at is not None
    assert f"next try at {problem.retry_at:%Y-%m-%d %H:%M:%S} UTC" in problem.finding.message
    assert "the connection is refused; after 3 failures" in problem.finding.message
    ca.port = gone
    back = ca.accounts(clock)
    back._gates = accounts._gates  # where the directory is has not changed, only who listens there
    back._gates._gates[ca.directory_url] = next(iter(accounts._gates._gates.values()))
    assert "left alone" in _problem(ca, back).finding.message
    clock.advance(timedelta(seconds=16))
    assert back.of(ca.acme).url == f"{ca.url}/account/1"
    assert back.of(ca.acme)._session._gate._breaker == Breaker()


def test_renewal_that_is_asked_for_ends_the_wait_once(ca: HostileCa, gone: int) -> None:
    """For each request one try, however often the resource is looked at, and one a minute, whoever requests."""
    clock = WallClock()
    accounts = ca.accounts(clock)
    for _ in range(TRIES):
        _problem(ca, accounts)
    accounts.asked(ca.acme, MX, "1")
    assert "left alone" not in _problem(ca, accounts).finding.message
    accounts.asked(ca.acme, MX, "1")
    assert "left alone" in _problem(ca, accounts).finding.message
    clock.advance(timedelta(seconds=61))
    accounts.asked(ca.acme, MX, "2")
    assert "left alone" not in _problem(ca, accounts).finding.message
    for number in range(5):
        accounts.asked(ca.acme, Key("other", "mx"), str(number))
        assert "left alone" in _problem(ca, accounts).finding.message


def test_accounts_with_faults_of_their_own_do_not_shut_the_others_out(ca: HostileCa) -> None:
    """A tenant's wrong roots or a refusal of the CA say nothing about whether it can be reached."""
    accounts = ca.accounts()
    accounts.secrets._default_roots.clear()
    for _ in range(2 * TRIES):
        assert _problem(ca, accounts).finding.reason is Reason.ACME_TLS_UNTRUSTED
    healthy = ca.accounts()
    healthy._gates = accounts._gates
    assert healthy.of(ca.acme).url
    ca.answers["/order"] = refusal("serverInternal", status="500 Internal Server Error")
    for _ in range(2 * TRIES):
        assert "left alone" not in _problem(ca, healthy).finding.message


def test_request_that_ends_with_its_step_says_nothing_of_the_ca(ca: HostileCa) -> None:
    """What took the step's time may have been another server's fault."""
    over = threading.Event()

    def keep_silent(_handler: StreamRequestHandler) -> None:
        over.wait()

    ca.answers["/order"] = keep_silent
    accounts = ca.accounts()
    assert accounts.of(ca.acme).url
    for _ in range(2 * TRIES):
        with within(0.02):
            assert "left alone" not in _problem(ca, accounts).finding.message
    with within(-1):
        assert "no answer in time" in _problem(ca, accounts).finding.message
    over.set()


def test_wait_that_a_ca_asked_for_is_ended_by_a_request_or_a_repair(ca: HostileCa) -> None:
    """A 503 with Retry-After stops the whole account, until a person asks or a Secret was put right."""
    accounts = ca.accounts()
    busy = refusal("serverInternal", "maintenance", "503 Service Unavailable", Retry_After="604800")
    fine = answer({"status": "pending"}, "201 Created", Location=f"{ca.url}/order/1")
    ends: tuple[Callable[[], None], ...] = (
        lambda: accounts.asked(ca.acme, MX, "1"),
        lambda: accounts.look_again(ca.acme),
    )
    for end in ends:
        ca.answers["/order"] = busy
        assert "maintenance" in _problem(ca, accounts).finding.message
        ca.answers["/order"] = fine
        held = _problem(ca, accounts)
        assert held.retry_at is not None
        assert held.retry_at - WallClock().now() <= timedelta(hours=1)
        end()
        assert accounts.of(ca.acme).new_order(NAMES).url == f"{ca.url}/order/1"


@pytest.mark.parametrize("silent", ["/directory", "/account"])
def test_workers_do_not_wait_for_a_silent_ca_one_after_the_other(
    ca: HostileCa, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one asks, no lock is held: the others share its answer, or go on soon with another resource."""
    over, asked = threading.Event(), threading.Event()
    monkeypatch.setattr(session, "_PATIENCE", 0.1)
    monkeypatch.setattr(accounts_module, "_PATIENCE", 0.1)

    def keep_silent(handler: StreamRequestHandler) -> None:
        asked.set()
        over.wait()
        handler.wfile.write(ca.fine(silent))

    ca.answers[silent] = keep_silent
    accounts = ca.accounts()
    with ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(lambda: accounts.of(ca.acme).url) for _ in range(16)]
        asked.wait()
        given_up = [each.exception() for each in islice(as_completed(waiting), 15)]
        assert {type(each) for each in given_up} == {AcmeProblem}
        over.set()
        urls = [each.result() for each in waiting if each.exception() is None]
    assert urls == [f"{ca.url}/account/1"]
    assert [each.path for each in ca.requests].count(silent) == 1


def test_pass_that_ends_while_it_looks_leaves_the_look_to_others(ca: HostileCa, gone: int) -> None:
    """Its resource was changed in the middle: that is no answer of the CA."""
    accounts = ca.accounts()
    for _ in range(TRIES):
        _problem(ca, accounts)

    def end() -> None:
        raise ReconcileEnded

    gate = accounts._gates.of(ca.directory_url)
    gate.hurry()
    with guarded(end), pytest.raises(ReconcileEnded), gate.passing(str):
        end()
    assert gate._breaker.admits(datetime.now(UTC))
