"""DNS-01 with the name servers that the documentation has settings for, set up by those settings."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from functional.bind import Key, Server
from functional.nameservers import DELEGATED, KEY, NAME_SERVERS, ZONE
from functional.operator_core import Core
from functional.pebble import Options, running_pebble
from mailtls.issuance.solvers.base import ChallengeProblem
from mailtls.issuance.solvers.rfc2136 import Rfc2136Records
from mailtls.reasons.reason import Reason
from testbed import trees

pytestmark = pytest.mark.bind
MX1, MAIL, WWW = (f"_acme-challenge.{label}.{ZONE}" for label in ("mx1", "mail", "www"))


@pytest.fixture(scope="module", params=NAME_SERVERS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which name server it is."""
    if request.param != "BIND" and (why := trees.obstacle()):
        pytest.skip(why)
    return str(request.param)


@pytest.fixture(scope="module")
def server(kind: str) -> Iterator[Server]:
    """Each name server, for all tests."""
    with NAME_SERVERS[kind]() as running:
        yield running


def records_of(server: Server, key: Key = KEY, secret: str | None = None) -> Rfc2136Records:
    """Make the operator's side, which finds name servers by asking `server`."""
    return Rfc2136Records(server.settings(key), (secret or key.secret).encode(), server.names())


def problem_of(records: Rfc2136Records, name: str) -> ChallengeProblem:
    """Add a value where that must fail."""
    with pytest.raises(ChallengeProblem) as caught:
        records.present(name, "value")
    return caught.value


def test_certificate_for_hosts_and_a_wildcard_is_issued(server: Server) -> None:
    """The CA looks the records up at the name server itself; a host and its wildcard are validated at one name."""
    with running_pebble(Options(always_valid=False, dns_server=f"{server.address}:{server.port}")) as pebble:
        core = Core(pebble, names=server.names())
        core.put_secret("tsig", {"secret": KEY.secret.encode()})
        rfc2136 = {"server": server.server, "tsigKeyName": KEY.name, "tsigSecretRef": {"name": "tsig", "key": "secret"}}
        names = [f"mx1.{ZONE}", f"*.mx1.{ZONE}", f"mail.{ZONE}"]
        core.apply(dnsNames=names, acme=core.acme() | {"solvers": [{"dns01": {"rfc2136": rfc2136}}]})
        core.run_until_ready()
    assert not any(map(server.texts, (MX1, MAIL)))


def test_values_added_at_once_are_all_there_and_go_one_by_one(server: Server) -> None:
    """Several certificates may have one name validated at the same time, and each removes only its own value."""
    records, values = records_of(server), [f"value-{number}" for number in range(6)]
    with ThreadPoolExecutor(len(values)) as pool:
        list(pool.map(lambda value: records.present(MX1, value), values * 2))
    assert server.texts(MX1) == set(values)
    for value in values:
        assert not records.spread(MX1, value).late
        records.remove(MX1, value)
        records.remove(MX1, value)
        assert value not in server.texts(MX1)
    assert server.texts(MX1) == set()


def test_change_is_seen_by_secondaries(server: Server) -> None:
    """Each change makes the zone's serial number a newer one; a rehearsal changes nothing."""
    records, before = records_of(server), server.serial(ZONE)
    assert f"takes updates of zone {ZONE}" in records.rehearse(MX1)
    assert server.serial(ZONE) == before
    records.present(MX1, "value")
    added = server.serial(ZONE)
    records.remove(MX1, "value")
    assert before < added < server.serial(ZONE)


def test_delegated_challenge_is_written_to_the_other_zone(server: Server) -> None:
    """The CNAME at the challenge's name stays as it is."""
    records, owner = records_of(server), f"mx1.{DELEGATED}"
    records.present(WWW, "value")
    assert server.texts(owner) == {"value"}
    assert not records.spread(WWW, "value").late
    records.remove(WWW, "value")
    assert server.texts(owner) == set()


def test_wildcard_alias_is_not_meant_for_the_challenge(server: Server) -> None:
    """`* CNAME mx1` answers for the challenge's name too, until a record of that name exists."""
    records = records_of(server)
    records.present(MAIL, "value")
    assert server.texts(MAIL) == {"value"}
    assert not records.spread(MAIL, "value").late
    records.remove(MAIL, "value")


def test_zone_of_another_server_names_that_server(server: Server) -> None:
    """A referral is no authority."""
    problem = problem_of(records_of(server), f"_acme-challenge.mx.away.{ZONE}")
    assert problem.finding.reason is Reason.ZONE_NOT_FOUND
    assert "ns.elsewhere.invalid" in problem.finding.message


@pytest.mark.parametrize(
    ("key", "secret", "bind_says"),
    [
        (Key("nobody"), KEY.secret, "BADKEY"),
        (Key("mailtls", "hmac-sha512"), KEY.secret, "BADKEY"),
        (KEY, Key("other").secret, "BADSIG"),
    ],
    ids=["name", "algorithm", "secret"],
)
def test_wrong_key_is_refused_with_what_to_correct(
    kind: str, server: Server, key: Key, secret: str, bind_says: str
) -> None:
    """BIND says what does not fit; the others say no, so the message has what that may mean there."""
    problem = problem_of(records_of(server, key, secret), MX1)
    assert problem.finding.reason is Reason.DNS_UPDATE_REFUSED
    assert bind_says in problem.finding.message or (kind != "BIND" and kind[:8] in problem.finding.message)
    assert key.name in problem.finding.message


def test_name_that_the_key_may_not_change_stays_as_it_is(kind: str, server: Server) -> None:
    """What the documentation allows is the challenges of the names that it lists; PowerDNS says yes all the same."""
    records, name = records_of(server), f"_acme-challenge.other.{ZONE}"
    if kind == "PowerDNS":
        records.present(name, "value")
        assert records.spread(name, "value").dropped_by == server.server
    elif kind in {"BIND", "Knot DNS"}:
        problem = problem_of(records, name)
        assert problem.finding.reason is Reason.DNS_UPDATE_REFUSED
        assert kind in problem.finding.message
    assert server.texts(name) == set()
