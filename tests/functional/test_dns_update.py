"""Dynamic updates against a real BIND: where values go, and what is said when they cannot."""

import socketserver
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import pytest

from functional.bind import SECONDARY, Bind, Key, Server, ZoneFile, free_port, running
from mailtls.controller.election import Leadership, LeadershipLost
from mailtls.issuance.solvers.base import ChallengeProblem
from mailtls.issuance.solvers.rfc2136 import Rfc2136Records
from mailtls.net import dns_server
from mailtls.net.effects import guarded
from mailtls.reasons.reason import Reason

pytestmark = pytest.mark.bind

KEY, LONG_KEY = Key("mailtls."), Key("long-key.", "hmac-sha512")
STRANGER = Key("stranger.")
ALL = "grant mailtls. zonesub TXT; grant long-key. zonesub TXT;"
ZONES = (
    ZoneFile("example.test", "@ NS ns1\nns1 A 127.0.0.1\nchild NS ns1\naway NS ns.elsewhere.invalid.\n", ALL),
    ZoneFile("child.example.test", "@ NS ns1.nowhere.invalid.\n* CNAME ns1.example.test.\n", ALL),
    ZoneFile(
        "fixed.test",
        "@ NS ns1.nowhere.invalid.\n"
        "_acme-challenge.mx CNAME mx.acme.test.\n"
        "* CNAME web\nweb A 127.0.0.1\n"
        "_acme-challenge.round CNAME _acme-challenge.about\n_acme-challenge.about CNAME _acme-challenge.round\n"
        "tree DNAME acme.test.\n",
        "grant mailtls. name _acme-challenge.mail.fixed.test. TXT;",
    ),
    ZoneFile("acme.test", policy=ALL),
    ZoneFile("closed.test", policy="grant mailtls. name only.closed.test. TXT;"),
)


@pytest.fixture(scope="module")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    """One named with all zones."""
    with running(tmp_path_factory.mktemp("bind"), ZONES, [KEY, LONG_KEY, STRANGER]) as server:
        yield server


def zone_of(bind: Bind, key: Key = KEY, secret: str | None = None, **changes: str | int) -> Rfc2136Records:
    """Make a zone over `bind` that signs with `key`."""
    return Rfc2136Records(bind.settings(key, **changes), (secret or key.secret).encode(), bind.names())


def problem_of(zone: Rfc2136Records, name: str) -> ChallengeProblem:
    """Add a value where that must fail."""
    with pytest.raises(ChallengeProblem) as caught:
        zone.present(name, "value")
    return caught.value


def test_value_added_twice_is_answered_once_and_removed_twice_without_complaint(bind: Bind) -> None:
    """Adding and removing can be repeated after a crash."""
    zone, name = zone_of(bind), "_acme-challenge.twice.example.test"
    zone.present(name, "value")
    zone.present(name, "value")
    assert bind.texts(name) == {"value"}
    zone.remove(name, "value")
    zone.remove(name, "value")
    assert bind.texts(name) == set()


def test_value_is_not_published_by_who_leads_no_longer(bind: Bind) -> None:
    """It is looked at right before the update, after the lookups that may have taken long."""
    zone, name = zone_of(bind), "_acme-challenge.late.example.test"
    with guarded(Leadership().require), pytest.raises(LeadershipLost):
        zone.present(name, "value")
    assert bind.texts(name) == set()


def test_name_shared_by_two_values_loses_only_the_removed_one(bind: Bind) -> None:
    """A wildcard and its apex prove themselves at one name."""
    zone, name = zone_of(bind), "_acme-challenge.shared.example.test."
    zone.present(name, "apex")
    zone.present(name, "wildcard")
    zone.remove(name, "apex")
    assert bind.texts(name) == {"wildcard"}
    zone.remove(name, "wildcard")


@pytest.mark.parametrize(
    "secret", [LONG_KEY.secret, LONG_KEY.secret + "\n", LONG_KEY.file], ids=["bare", "line", "file"]
)
def test_key_of_sha512_in_any_spelling_is_accepted(bind: Bind, secret: str) -> None:
    """The Secret may hold bare base64 or the file that tsig-keygen writes."""
    zone, name = zone_of(bind, LONG_KEY, secret), "_acme-challenge.long.example.test"
    zone.present(name, "value")
    assert bind.texts(name) == {"value"}
    zone.remove(name, "value")


def test_name_in_a_child_zone_of_the_same_server_is_written_to_the_child(bind: Bind) -> None:
    """The zone is the nearest that the server has, although a wildcard alias there leads into the parent."""
    zone, name = zone_of(bind), "_acme-challenge.mx.child.example.test"
    zone.present(name, "value")
    assert bind.texts(name) == {"value"}
    zone.remove(name, "value")


def test_name_in_a_child_zone_of_another_server_names_that_server(bind: Bind) -> None:
    """A referral is no authority; the finding tells whom to ask."""
    problem = problem_of(zone_of(bind), "_acme-challenge.mx.away.example.test")
    assert problem.finding.reason is Reason.ZONE_NOT_FOUND
    assert "ns.elsewhere.invalid" in problem.finding.message
    assert not problem.transient


def test_name_of_a_zone_unknown_to_the_server_is_not_found(bind: Bind) -> None:
    """REFUSED to a question means that the server is not authoritative."""
    problem = problem_of(zone_of(bind), "_acme-challenge.mx.unknown.test")
    assert problem.finding.reason is Reason.ZONE_NOT_FOUND
    assert "mx.unknown.test" in problem.finding.message


def test_server_of_the_root_zone_is_not_taken_for_the_zone_of_everything(tmp_path: Path) -> None:
    """A resolver with a root zone of its own denies all other names with authority."""
    root = ZoneFile(".", "@ NS ns1\nns1 A 127.0.0.1\n", ALL)
    with running(tmp_path / "root", [root], [KEY]) as server:
        problem = problem_of(zone_of(server), "_acme-challenge.mx.unknown.test")
    assert problem.finding.reason is Reason.ZONE_NOT_FOUND


def test_zone_that_moved_is_found_again_after_a_refusal(tmp_path: Path) -> None:
    """A child zone that was cut out makes the remembered place wrong; the next try searches again."""
    port, name = free_port(), "_acme-challenge.mx.child.moved.test"
    whole, child = ZoneFile("moved.test", policy=ALL), ZoneFile("child.moved.test", policy=ALL)
    with running(tmp_path / "whole", [whole], [KEY], port=port) as server:
        zone = zone_of(server)
        zone.present(name, "value")
    with running(tmp_path / "cut", [child], [KEY], port=port) as server:
        problem_of(zone, name)
        zone.present(name, "value")
        assert server.texts(name) == {"value"}


def test_alias_at_the_challenge_name_is_followed_into_the_other_zone(bind: Bind) -> None:
    """Delegation by CNAME lets the main zone stay fixed."""
    zone, name = zone_of(bind), "_acme-challenge.mx.fixed.test"
    zone.present(name, "value")
    assert bind.texts("mx.acme.test") == {"value"}
    assert not zone.spread(name, "value").late
    zone.remove(name, "value")
    assert bind.texts("mx.acme.test") == set()


def test_alias_of_a_whole_tree_is_followed(bind: Bind) -> None:
    """A DNAME makes CNAMEs for all names below it."""
    zone, name = zone_of(bind), "_acme-challenge.mx.tree.fixed.test"
    zone.present(name, "value")
    assert bind.texts("_acme-challenge.mx.acme.test") == {"value"}
    zone.remove(name, "value")


def test_alias_that_another_server_knows_is_followed(bind: Bind, tmp_path: Path) -> None:
    """The main zone may be with a provider that takes no updates."""
    main = ZoneFile("main.test", "@ NS ns1.nowhere.invalid.\n_acme-challenge.mx CNAME main.acme.test.\n")
    with running(tmp_path / "other", [main]) as other:
        zone = Rfc2136Records(bind.settings(KEY), KEY.secret.encode(), other.names())
        zone.present("_acme-challenge.mx.main.test", "value")
        assert bind.texts("main.acme.test") == {"value"}
        assert not zone.spread("_acme-challenge.mx.main.test", "value").late


def test_wildcard_alias_is_not_meant_for_the_challenge(bind: Bind) -> None:
    """`* CNAME web` answers for the challenge's name too, until a record of that name exists."""
    zone, name = zone_of(bind), "_acme-challenge.mail.fixed.test"
    zone.present(name, "value")
    assert bind.texts(name) == {"value"}
    assert not zone.spread(name, "value").late
    zone.remove(name, "value")


def test_aliases_in_a_circle_end_in_a_finding(bind: Bind) -> None:
    """Two CNAMEs that point at each other are the user's to repair."""
    problem = problem_of(zone_of(bind), "_acme-challenge.round.fixed.test")
    assert problem.finding.reason is Reason.ZONE_NOT_FOUND
    assert "circle" in problem.finding.message


@pytest.mark.parametrize(
    ("key", "secret", "sign"),
    [
        (Key("nobody."), KEY.secret, "BADKEY"),
        (Key("mailtls.", "hmac-sha384"), KEY.secret, "BADKEY"),
        (KEY, STRANGER.secret, "BADSIG"),
        (STRANGER, STRANGER.secret, "update-policy"),
    ],
    ids=["name", "algorithm", "secret", "policy"],
)
def test_wrong_key_is_refused_with_what_to_mend(bind: Bind, key: Key, secret: str, sign: str) -> None:
    """Each way to have the wrong key has its own sentence, and none shows a secret."""
    problem = problem_of(zone_of(bind, key, secret), "_acme-challenge.mx.example.test")
    assert problem.finding.reason is Reason.DNS_UPDATE_REFUSED
    assert not problem.transient
    assert sign in problem.finding.message
    assert key.name in problem.finding.message
    assert secret not in problem.finding.message


def test_policy_that_a_refusal_proposes_lets_the_update_through(bind: Bind, tmp_path: Path) -> None:
    """The fix in the message can be pasted into named.conf."""
    name = "_acme-challenge.mx.closed.test"
    message = problem_of(zone_of(bind), name).finding.message
    policy = message.partition("update-policy { ")[2].partition(" };")[0]
    with running(tmp_path / "fixed", [ZoneFile("closed.test", policy=policy)], [KEY]) as corrected:
        zone_of(corrected).present(name, "value")
        assert corrected.texts(name) == {"value"}


def test_clock_an_hour_late_is_refused_with_the_clock_named(bind: Bind, monkeypatch: pytest.MonkeyPatch) -> None:
    """TSIG allows five minutes (RFC 8945 section 10)."""
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() - 3600)
    problem = problem_of(zone_of(bind), "_acme-challenge.mx.example.test")
    assert problem.finding.reason is Reason.DNS_UPDATE_REFUSED
    assert "clocks" in problem.finding.message


def test_zone_that_the_settings_name_is_used_as_it_is(bind: Bind) -> None:
    """A named zone saves the search, and is checked against the name."""
    zone, name = zone_of(bind, zone="example.test"), "_acme-challenge.named.example.test"
    zone.present(name, "value")
    assert bind.texts(name) == {"value"}
    problem = problem_of(zone_of(bind, zone="acme.test"), name)
    assert problem.finding.reason is Reason.ZONE_NOT_FOUND
    assert "acme.test" in problem.finding.message


def test_zone_that_the_settings_name_but_the_server_does_not_have_is_refused(bind: Bind) -> None:
    """NOTAUTH says that another server is the zone's primary."""
    problem = problem_of(zone_of(bind, zone="unknown.test"), "_acme-challenge.mx.unknown.test")
    assert problem.finding.reason is Reason.DNS_UPDATE_REFUSED
    assert "primary" in problem.finding.message
    assert "NOTAUTH" in problem.finding.message


def test_ttl_of_the_settings_is_the_records(bind: Bind) -> None:
    """A short time to live keeps a failed proof from haunting resolvers."""
    name = "_acme-challenge.ttl.example.test"
    zone_of(bind, ttl=7).present(name, "value")
    answer = dns.query.udp(dns.message.make_query(name, "TXT"), bind.address, port=bind.port, timeout=30)
    assert answer.answer[0].ttl == 7


def test_server_named_by_host_name_is_reached(bind: Bind) -> None:
    """A Service's DNS name is as good as an address."""
    zone, name = zone_of(bind, server=f"localhost:{bind.port}"), "_acme-challenge.byname.example.test"
    zone.present(name, "value")
    assert bind.texts(name) == {"value"}


def test_server_at_an_ipv6_address_is_reached(tmp_path: Path) -> None:
    """IPv6 addresses stand in brackets."""
    with running(tmp_path / "six", [ZoneFile("six.test", policy=ALL)], [KEY], address="::1") as server:
        zone = zone_of(server)
        zone.present("_acme-challenge.six.test", "value")
        assert server.texts("_acme-challenge.six.test") == {"value"}
        assert not zone.spread("_acme-challenge.six.test", "value").late


def test_many_threads_on_one_zone_all_get_their_values_in(bind: Bind) -> None:
    """Workers share a zone, as all resources of a domain do."""
    zone = zone_of(bind)
    names = [f"_acme-challenge.m{number}.example.test" for number in range(64)]

    def publish(name: str) -> bool:
        zone.present(name, name)
        late = zone.spread(name, name).late
        zone.remove(name, name)
        return not late

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(publish, names)) == [True] * 64
    assert not any(map(bind.texts, names[:5]))


def test_server_that_is_down_is_unreachable_for_now(tmp_path: Path) -> None:
    """A stopped server costs no attempt, and the same zone object works once it is back."""
    port, zones = free_port(), [ZoneFile("down.test", policy=ALL)]
    with running(tmp_path / "first", zones, [KEY], port=port) as server:
        zone = zone_of(server)
        zone.present("_acme-challenge.down.test", "value")
    problem = problem_of(zone, "_acme-challenge.down.test")
    assert (problem.finding.reason, problem.transient) == (Reason.DNS_UNREACHABLE, True)
    assert "refused" in problem.finding.message
    with running(tmp_path / "second", zones, [KEY], port=port) as server:
        zone.present("_acme-challenge.down.test", "value")
        assert server.texts("_acme-challenge.down.test") == {"value"}


def test_secondary_that_forwards_nothing_refuses_the_update(bind: Bind, tmp_path: Path) -> None:
    """A secondary has the zone, but is the wrong server to change it."""
    copy = ZoneFile("example.test", primary=f"primaries port {bind.port} {{ {bind.address}; }};")
    with running(tmp_path / "copy", [copy], [KEY], address=SECONDARY) as secondary:
        secondary.await_zone("example.test")
        problem = problem_of(zone_of(secondary), "_acme-challenge.mx.example.test")
    assert problem.finding.reason is Reason.DNS_UPDATE_REFUSED


@contextmanager
def answering(answer: bytes | None) -> Iterator[str]:
    """Listen as a server that says `answer` to whatever comes, or nothing at all."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            if answer is None:
                self.request.recv(4096)
            else:
                self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    "answer", [b"", b"\x00", b"SSH-2.0-OpenSSH_9.2\r\n" + b"x" * 30000, None], ids=["close", "torn", "other", "silence"]
)
def test_server_that_speaks_no_dns_is_unreachable_for_now(
    answer: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever listens at the address, a worker comes back in time with a finding."""
    monkeypatch.setattr(dns_server, "_CONVERSATION_SECONDS", 0.3)
    with answering(answer) as address:
        settings = Server("127.0.0.1", 1).settings(KEY, server=address)
        began = time.monotonic()
        problem = problem_of(Rfc2136Records(settings, KEY.secret.encode()), "_acme-challenge.mx.example.test")
    assert (problem.finding.reason, problem.transient) == (Reason.DNS_UNREACHABLE, True)
    assert time.monotonic() - began < 60  # the server of the last case never answers


@contextmanager
def agreeing() -> Iterator[str]:
    """Listen as a server that says yes to every update, and signs nothing."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while head := self.rfile.read(2):
                query = self.rfile.read(int.from_bytes(head, "big"))
                question = query[12 : query.index(0, 12) + 5]  # for an update: the zone (RFC 2136 section 2.3)
                answer = query[:2] + bytes([query[2] | 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0]) + question
                self.wfile.write(len(answer).to_bytes(2, "big") + answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_success_that_nobody_signed_is_not_believed() -> None:
    """An answer without TSIG can come from anybody on the way."""
    with agreeing() as address:
        settings = Server("127.0.0.1", 1).settings(KEY, server=address, zone="example.test")
        problem = problem_of(Rfc2136Records(settings, KEY.secret.encode()), "_acme-challenge.mx.example.test")
    assert problem.finding.reason is Reason.DNS_UPDATE_REFUSED
    assert "without a signature" in problem.finding.message


def test_rehearsal_names_the_zone_and_changes_nothing(bind: Bind) -> None:
    """The signature is checked, and the server's zone stays as it is."""
    said = zone_of(bind).rehearse("_acme-challenge.rehearsed.example.test")
    assert said == f"{bind.server} takes updates of zone example.test signed with {KEY.name}."
    assert bind.texts("_acme-challenge.rehearsed.example.test") == set()


def test_rehearsal_with_a_wrong_key_says_what_is_wrong(bind: Bind) -> None:
    """Before anything was applied."""
    with pytest.raises(ChallengeProblem) as caught:
        zone_of(bind, secret=STRANGER.secret).rehearse("_acme-challenge.mx.example.test")
    assert caught.value.finding.reason is Reason.DNS_UPDATE_REFUSED
    assert "BADSIG" in caught.value.finding.message
