"""Full probes ask for each of the certificate's names by SNI, against servers that choose certificates by name."""

import gc
import socket
import ssl
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from builders.stories import desired
from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailservers.certificates import DAY, HOST, Authority, Served, Wanted
from mailservers.scripted import Script, serving
from mailservers.smtp_tls import Mailbox, mailbox, tls_context
from mailtls.api.reading.document import Json
from mailtls.api.resource import resources_path
from mailtls.api.spec import Key
from mailtls.context import Context
from mailtls.kube.references import References
from mailtls.kube.secrets import Secrets
from mailtls.kube.snapshot import ServingSecret, Snapshot
from mailtls.metrics import Metrics
from mailtls.pki.certificate import KeyMaterial, parse_chain
from mailtls.probe.checks.verdict import judge
from mailtls.probe.conversation import Limits
from mailtls.probe.facts import Facts, Inspection, Session
from mailtls.probe.inspector import PATIENCE_WITH_UNRESPONSIVE
from mailtls.probe.prober import Prober
from mailtls.probe.target import (
    Depth,
    Endpoint,
    Expected,
    Port,
    RsaBits,
    Target,
    Thresholds,
    TlsMode,
    TlsPolicy,
    TlsVersion,
)
from mailtls.reasons.reason import Reason, Severity
from mailtls.verification.decide import ProbePods
from mailtls.verification.evidence import clients_refuse
from mailtls.verification.execute import Probing

AUTHORITY = Authority()
SECOND, WILD = "mail.example.com", "*.example.net"
NAMES = (HOST, SECOND, WILD)
GOOD = AUTHORITY.issue(Wanted(names=NAMES))
OLD = AUTHORITY.issue(Wanted(names=(SECOND,), valid_from=-100 * DAY, valid_until=-3 * DAY))
OLDER_WILD = AUTHORITY.issue(Wanted(names=(WILD,), valid_from=-20 * DAY))
OTHER = AUTHORITY.issue(Wanted(names=(SECOND,)))


def by_name(directory: Path, default: Served, chosen: Mapping[str, Served | None]) -> ssl.SSLContext:
    """Settings of a server that has a certificate of its own for some names, and refuses those of None."""
    contexts = {name: tls_context(directory, served) if served else None for name, served in chosen.items()}

    def choose(secured: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
        own = contexts.get(name or "")
        if own is not None:
            secured.context = own
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME if name in contexts and own is None else None

    context = tls_context(directory, default)
    context.sni_callback = choose
    return context


def expected(*names: str) -> Expected:
    """What is expected where the good certificate is stored for `names`."""
    return replace(AUTHORITY.expects(GOOD), names=names or NAMES)


def at(port: int) -> Target:
    """A submission port of this machine."""
    where = Port(port, TlsMode.START_TLS, TlsPolicy.ENFORCED)
    return Target("127.0.0.1", where, HOST, pod="postfix-0", workload="StatefulSet/postfix")


def probe(
    context: ssl.SSLContext, depth: Depth = Depth.FULL, wanted: Expected | None = None, limits: Limits | None = None
) -> Endpoint:
    """Probe a server on loopback."""
    with mailbox(Mailbox(context)) as port:
        return Prober(limits or Limits()).probe([at(port)], wanted or expected(), depth)[0]


def test_stale_certificate_under_one_name_fails_as_that_name(tmp_path: Path) -> None:
    """The first name is right, the second one's certificate has expired: the finding is on the second one."""
    endpoint = probe(by_name(tmp_path, GOOD, {SECOND: OLD}))
    assert endpoint.failure is not None
    assert [(each.reason, each.subject) for each in endpoint.findings] == [
        (Reason.SERVING_OLD_CERTIFICATE, SECOND),
        (Reason.CERTIFICATE_EXPIRED, SECOND),
    ]
    assert SECOND in endpoint.failure.message
    assert OLD.sha256 in endpoint.failure.evidence


def test_names_that_are_all_served_the_stored_certificate_pass(tmp_path: Path) -> None:
    """One certificate for all names, the made-up one under the wildcard with them, is what should be."""
    assert probe(tls_context(tmp_path, GOOD)).findings == ()


def test_quick_probe_asks_for_the_first_name_alone(tmp_path: Path) -> None:
    """A quick probe stays one connection."""
    assert probe(by_name(tmp_path, GOOD, {SECOND: OLD}), Depth.QUICK).findings == ()


def test_name_that_is_refused_fails(tmp_path: Path) -> None:
    """A server that does not know one of its names turns its clients away."""
    endpoint = probe(by_name(tmp_path, GOOD, {SECOND: None}))
    assert [(each.reason, each.subject) for each in endpoint.findings] == [(Reason.TLS_HANDSHAKE_FAILED, SECOND)]
    assert "unrecognized name" in endpoint.findings[0].evidence


def test_old_certificate_of_a_wildcard_fails(tmp_path: Path) -> None:
    """A made-up label under the wildcard shows the certificate that the server keeps for it."""
    endpoint = probe(by_name(tmp_path, GOOD, {"mailtls-probe.example.net": OLDER_WILD}))
    assert [(each.reason, each.subject) for each in endpoint.findings] == [(Reason.SERVING_OLD_CERTIFICATE, WILD)]


@pytest.mark.parametrize("served", [OTHER, None], ids=["default certificate", "refusal"])
def test_server_that_knows_no_made_up_name_under_a_wildcard_is_not_blamed(
    served: Served | None, tmp_path: Path
) -> None:
    """It may serve just those names under it that clients dial."""
    assert probe(by_name(tmp_path, GOOD, {"mailtls-probe.example.net": served})).findings == ()


def test_names_that_share_a_wrong_certificate_are_one_finding(tmp_path: Path) -> None:
    """A hundred names behind one stale file are not a hundred messages; the first five are named."""
    names = [f"host{number}.example.com" for number in range(99)]
    good = AUTHORITY.issue(Wanted(names=(HOST, *names)))
    old = AUTHORITY.issue(Wanted(names=tuple(names), valid_from=-20 * DAY))
    wanted = replace(AUTHORITY.expects(good), names=(HOST, *names))
    endpoint = probe(by_name(tmp_path, good, dict.fromkeys(names, old)), wanted=wanted)
    assert [each.reason for each in endpoint.findings] == [Reason.SERVING_OLD_CERTIFICATE]
    assert "host0.example.com" in endpoint.findings[0].message
    assert "and 94 more" in endpoint.findings[0].message


def test_first_name_that_is_stale_says_it_for_all(tmp_path: Path) -> None:
    """Where every name is served the same old certificate, it is said once."""
    old = AUTHORITY.issue(Wanted(names=NAMES, valid_from=-20 * DAY))
    endpoint = probe(tls_context(tmp_path, old))
    assert [(each.reason, each.subject) for each in endpoint.findings] == [(Reason.SERVING_OLD_CERTIFICATE, "")]


@pytest.mark.parametrize(
    "limits", [Limits(most_names=1), Limits(inspection=0, names=0)], ids=["as many as may be", "in time"]
)
def test_names_that_nobody_came_to_are_warned_of(limits: Limits, tmp_path: Path) -> None:
    """A bound that cuts names off is told, with the names."""
    endpoint = probe(by_name(tmp_path, GOOD, {}), limits=limits)
    assert [(each.reason, each.severity) for each in endpoint.findings] == [(Reason.NAMES_NOT_ASKED, Severity.WARN)]
    assert WILD in endpoint.findings[0].message


def test_server_that_shows_ever_more_certificates_takes_no_memory_of_others(tmp_path: Path) -> None:
    """It is asked no further, and what was not asked is told."""
    limits = Limits(inspection=0, certificates=1)
    endpoint = probe(by_name(tmp_path, GOOD, {SECOND: OTHER}), limits=limits)
    assert [(each.reason, each.subject) for each in endpoint.findings] == [
        (Reason.SERVING_OLD_CERTIFICATE, SECOND),
        (Reason.NAMES_NOT_ASKED, WILD),
    ]
    asked: list[Facts] = []

    def watch(target: Target, wanted: Expected, facts: Facts, now: datetime) -> Endpoint:
        asked.append(facts)
        return judge(target, wanted, facts, now)

    with mailbox(Mailbox(tls_context(tmp_path, GOOD))) as port:
        Prober(Limits(certificates=1), judge=watch).probe([at(port)], expected(), Depth.FULL)
    assert asked[0].inspection is not None
    assert len(asked[0].inspection.answers) < 4
    assert asked[0].inspection.unprobed == (SECOND, WILD)


def test_what_servers_showed_is_dropped_with_each_verdict(tmp_path: Path) -> None:
    """A sweep of thousands of pods holds the certificates of those alone that are asked at the moment."""
    living: list[int] = []

    def watch(target: Target, wanted: Expected, facts: Facts, now: datetime) -> Endpoint:
        living.append(sum(isinstance(each, Session) for each in gc.get_objects()))
        return judge(target, wanted, facts, now)

    before = sum(isinstance(each, Session) for each in gc.get_objects())
    with mailbox(Mailbox(tls_context(tmp_path, GOOD))) as port:
        Prober(Limits(connections=1), judge=watch).probe([at(port)] * 12, expected())
    assert max(living) - before < 6


def test_server_that_has_had_enough_is_left_alone(tmp_path: Path) -> None:
    """A hundred names are no reason to knock a hundred times where nobody lets us in: two in a row are enough."""
    greeted: list[int] = []

    def greet(connection: socket.socket) -> None:
        greeted.append(1)
        connection.sendall(b"220 mx1.example.com\r\n" if len(greeted) == 1 else b"421 4.7.0 Too many\r\n")

    names = (HOST, *(f"host{number}.example.com" for number in range(99)))
    wanted = replace(AUTHORITY.expects(GOOD), names=names)
    prober = Prober(Limits(inspection=0))  # on to the names at once
    with serving(Script(served=GOOD, greeting=greet), tmp_path) as port:
        (endpoint,) = prober.probe([at(port)], wanted, Depth.FULL)
    assert [each.reason for each in endpoint.findings] == [Reason.NAMES_NOT_ASKED]
    assert "99 names" in endpoint.findings[0].evidence
    assert len(greeted) <= 2 + PATIENCE_WITH_UNRESPONSIVE, "the talk, what the inspection had begun, and two"


def test_canary_is_not_failed_for_another_certificate_under_another_name(tmp_path: Path) -> None:
    """What is being rolled out is served and liked; the stale certificate under one name is another one."""
    endpoint = probe(by_name(tmp_path, GOOD, {SECOND: AUTHORITY.issue(Wanted(names=("x.example.org",)))}))
    assert endpoint.failure is not None
    assert not clients_refuse(endpoint, GOOD.sha256)


def asked_by_the_operator(
    context: ssl.SSLContext, *siblings: Served, elsewhere: Served | None = None, external: Json | None = None
) -> list[Reason]:
    """Have the operator ask a server while other resources of the namespace keep `siblings` and `elsewhere`."""
    cluster, clock = FakeCluster(), WallClock()
    if elsewhere is not None:
        sha256 = parse_chain(elsewhere.chain_pem.decode()).sha256
        body = {
            "metadata": {"namespace": "mail", "name": "mx-ecdsa"},
            "spec": {"dnsNames": [SECOND], "external": external},
            "status": {"secret": {"name": "mx-ecdsa-tls", "uid": "u", "fingerprintSHA256": sha256}},
        }
        cluster.create(resources_path("mail"), body)
    for number, each in enumerate((GOOD, *siblings)):
        kept = desired(key=Key("mail", f"mx{number}"), secret_name=f"mx{number}-tls")
        chain, key = parse_chain(each.chain_pem.decode()), KeyMaterial(each.key_pem)
        Secrets(cluster).store(kept, chain, key, ServingSecret(exists=False))
    want = desired(secret_name="mx0-tls", dns_names=(*NAMES, "not-issued-yet.example.com"))
    prober = Prober(now=clock.now)
    probing = Probing(
        cluster, prober, clock, Metrics(), lambda _ref: b"", References(cluster, clock), AUTHORITY.roots_pem
    )
    seen = Context(want, Snapshot(secret=Secrets(cluster).serving(want)))
    with mailbox(Mailbox(context)) as port:
        (endpoint,) = probing.probe(seen, ProbePods((at(port),), Depth.FULL)).verification.endpoints
    return [each.reason for each in endpoint.findings]


def test_operator_asks_for_every_name_of_the_resource(tmp_path: Path) -> None:
    """A good certificate under one name that nobody stored is wrong; one that another resource keeps is fine."""
    context = by_name(tmp_path, GOOD, {SECOND: OTHER})
    assert asked_by_the_operator(context) == [Reason.SERVING_OLD_CERTIFICATE]
    assert asked_by_the_operator(context, OTHER) == []


def test_certificate_that_another_issuer_wrote_for_another_resource_is_fine(tmp_path: Path) -> None:
    """RSA beside ECDSA, both from cert-manager: no Secret has our label, the other resource says it."""
    context = by_name(tmp_path, GOOD, {SECOND: OTHER})
    assert asked_by_the_operator(context, elsewhere=OTHER, external={}) == []
    assert asked_by_the_operator(context, elsewhere=OLD, external={}) == [Reason.SERVING_OLD_CERTIFICATE]
    assert asked_by_the_operator(context, elsewhere=OTHER) == [Reason.SERVING_OLD_CERTIFICATE]


def test_expired_certificate_under_a_name_is_told_whoever_keeps_it(tmp_path: Path) -> None:
    """Clients that dial that name fail, even if another resource has it."""
    found = asked_by_the_operator(by_name(tmp_path, GOOD, {SECOND: OLD}), OLD)
    assert Reason.CERTIFICATE_EXPIRED in found


def test_wildcard_is_never_dialled_itself() -> None:
    """The first name that a client can dial is the one the probe dials; of wildcards alone a made-up one."""
    assert desired(dns_names=(WILD, SECOND)).server_name == SECOND
    assert desired(dns_names=(WILD,)).server_name == "mailtls-probe.example.net"


def test_thresholds_hold_under_every_name(tmp_path: Path) -> None:
    """What is near its end or falls short of a minimum under a second name is reported as that name."""
    ending = AUTHORITY.issue(Wanted(names=(SECOND,), rsa_bits=2048, valid_from=-80 * DAY, valid_until=5 * DAY))
    demands = Thresholds(minimum_rsa_bits=RsaBits.BITS_3072)
    anything = Expected(None, AUTHORITY.roots_pem, names=(HOST, SECOND), thresholds=demands)
    found = probe(by_name(tmp_path, GOOD, {SECOND: ending}), wanted=anything).findings
    assert [(each.reason, each.severity, each.subject) for each in found] == [
        (Reason.KEY_BELOW_MINIMUM, Severity.FAIL, SECOND),
        (Reason.CERTIFICATE_EXPIRING_SOON, Severity.WARN, SECOND),
    ]


def test_older_tls_under_one_name_is_below_the_minimum() -> None:
    """A name may have TLS settings of its own: what is agreed on there is held against the minimum too."""
    first = Session(tuple(each.public_bytes(Encoding.DER) for each in GOOD.chain), "TLSv1.3", "AES")
    older = replace(first, tls_version="TLSv1.2")
    facts = Facts(session=first, inspection=Inspection(names={SECOND: older, WILD: first}))
    wanted = replace(expected(), thresholds=Thresholds(minimum_tls=TlsVersion.TLS_1_3))
    found = judge(at(587), wanted, facts, datetime.now(UTC)).findings
    assert [(each.reason, each.subject) for each in found] == [(Reason.TLS_BELOW_MINIMUM, SECOND)]
    assert "TLSv1.2" in found[0].message


def test_stale_second_key_type_under_one_name_fails_as_that_name(tmp_path: Path) -> None:
    """A server with certificates of both key types is asked for both under every name."""
    rsa = AUTHORITY.issue(Wanted(names=NAMES, rsa_bits=2048))
    stale = AUTHORITY.issue(Wanted(names=(SECOND,), rsa_bits=2048, valid_from=-90 * DAY, valid_until=-DAY))
    both, second = tls_context(tmp_path, GOOD, rsa), tls_context(tmp_path, GOOD, stale)

    def choose(secured: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        if name == SECOND:
            secured.context = second

    both.sni_callback = choose
    anything = Expected(None, AUTHORITY.roots_pem, names=NAMES)
    found = probe(both, wanted=anything).findings
    assert [(each.reason, each.subject) for each in found] == [(Reason.CERTIFICATE_EXPIRED, SECOND)]


def test_name_that_no_stored_certificate_is_for_is_missed(tmp_path: Path) -> None:
    """By hand, without a stored certificate, one that is right for the first name may not be for the second."""
    anything = Expected(None, AUTHORITY.roots_pem, names=(HOST, "mail.example.org"))
    found = probe(tls_context(tmp_path, GOOD), wanted=anything).findings
    assert [(each.reason, each.subject) for each in found] == [(Reason.HOSTNAME_MISMATCH, "mail.example.org")]
