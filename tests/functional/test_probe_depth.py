"""Full and deep probes against a real Postfix, well kept and in the ways that one conversation does not show."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from builders.stories import desired
from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailservers.certificates import DAY, HOST, Authority, Served, Wanted
from mailservers.connections import counts
from mailservers.postfix import Postfix, missing, postfix
from mailtls.api.resource import resources_path
from mailtls.api.spec import Key
from mailtls.context import Context
from mailtls.kube.pairs import path
from mailtls.kube.references import References
from mailtls.kube.secrets import Secrets
from mailtls.kube.snapshot import ServingSecret, Snapshot
from mailtls.metrics import Metrics
from mailtls.pki.certificate import KeyMaterial, parse_chain
from mailtls.probe.conversation import Limits
from mailtls.probe.prober import Prober
from mailtls.probe.target import Depth, Endpoint, Port, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason, Severity
from mailtls.verification.decide import ProbePods
from mailtls.verification.execute import Probing

AUTHORITY = Authority()
SECOND_NAME = "mail.example.com"
STORED, RSA = AUTHORITY.issue(Wanted(names=(HOST, SECOND_NAME))), AUTHORITY.issue(Wanted(rsa_bits=2048))
EXPIRED = AUTHORITY.issue(Wanted(rsa_bits=2048, valid_from=-90 * DAY, valid_until=-1 * DAY))
PAST = AUTHORITY.issue(Wanted(names=(SECOND_NAME,), valid_from=-90 * DAY, valid_until=-1 * DAY))
FAIL, WARN = Severity.FAIL, Severity.WARN
MODERN = ("smtpd_tls_protocols=>=TLSv1.2", "smtpd_tls_mandatory_protocols=>=TLSv1.2")  # the default is TLS 1.0
LIMITS = Limits(dialog=30, handshake=30, overall=90, inspection=300, unsolicited=0.5)
SMTPS = "smtpd_tls_wrappermode=yes"


@dataclass(frozen=True, slots=True)
class Case:
    """One smtpd: its certificates in one file, its options, and what is to be found."""

    pem: bytes = STORED.pem
    options: tuple[str, ...] = ()
    tls: TlsMode = TlsMode.START_TLS
    found: tuple[tuple[Reason, Severity], ...] = ()


COUNTED = [
    (name, depth, names)
    for name in ("good", "good-wrapper")
    for depth in Depth
    for names in ((HOST,), (HOST, SECOND_NAME))
]
CASES = {
    "good": Case(),
    "good-wrapper": Case(options=(SMTPS,), tls=TlsMode.IMPLICIT),
    "two-pairs": Case(STORED.pem + RSA.pem, found=((Reason.SECOND_CERTIFICATE_STALE, FAIL),)),
    "expired-pair": Case(STORED.pem + EXPIRED.pem, found=((Reason.SECOND_CERTIFICATE_STALE, FAIL),)),
    "only-tls12": Case(options=("smtpd_tls_protocols=TLSv1.2",), found=((Reason.TLS13_UNSUPPORTED, WARN),)),
    "only-tls13": Case(options=("smtpd_tls_protocols=TLSv1.3",), found=((Reason.TLS12_UNSUPPORTED, FAIL),)),
    "old-tls": Case(options=("smtpd_tls_protocols=>=TLSv1",), found=((Reason.LEGACY_TLS_ENABLED, WARN),)),
    "name-in-map": Case(
        options=("tls_server_sni_maps=hash:{home}/sni",),
        found=((Reason.SERVING_OLD_CERTIFICATE, FAIL), (Reason.CERTIFICATE_EXPIRED, FAIL)),
    ),
    "no-encryption": Case(
        options=("smtpd_tls_ciphers=null", "tls_null_cipherlist=eNULL:aRSA:aECDSA:@SECLEVEL=0"),
        found=((Reason.WEAK_CRYPTO, WARN),),
    ),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Postfix]:
    """One Postfix for all cases."""
    if why := missing():
        pytest.skip(why)
    with postfix({name: (*MODERN, *case.options) for name, case in CASES.items()}) as running:
        for name, case in CASES.items():
            running.certificate(name, case.pem)
        running.certificate_by_name(SECOND_NAME, PAST.pem)
        yield running


def target(server: Postfix, name: str) -> Target:
    """One service of the server, as a port of a pod."""
    port = Port(server.ports[name], CASES[name].tls, TlsPolicy.OPPORTUNISTIC)
    return Target("127.0.0.1", port, HOST, pod="postfix-0", workload="StatefulSet/postfix")


def probe(server: Postfix, name: str) -> Endpoint:
    """Probe one service of the server as deep as can be."""
    expected = replace(AUTHORITY.expects(STORED), names=(HOST, SECOND_NAME))
    return Prober(LIMITS).probe([target(server, name)], expected, Depth.DEEP)[0]


@pytest.mark.parametrize("name", CASES)
def test_service_of_postfix_gets_its_findings(name: str, server: Postfix) -> None:
    """A well kept Postfix passes a deep probe, and each other one earns the one finding that tells it apart."""
    found = probe(server, name).findings
    assert tuple((each.reason, each.severity) for each in found) == CASES[name].found, (found, server.log())


@pytest.mark.parametrize(("name", "depth", "names"), COUNTED)
def test_probe_makes_as_many_connections_as_the_page_says(
    name: str, depth: Depth, names: tuple[str, ...], server: Postfix
) -> None:
    """Programs such as fail2ban count connections that are lost: two handshakes are refused, all others end by QUIT."""
    connections, lost = counts(depth, TlsMode.IMPLICIT if "wrapper" in name else TlsMode.START_TLS, len(names) - 1)
    before = len(server.talks(name))
    expected = replace(AUTHORITY.expects(STORED), names=names)
    (endpoint,) = Prober(LIMITS).probe([target(server, name)], expected, depth)
    assert endpoint.findings == ()
    talks = server.talks(name)[before:]
    assert len(talks) == connections
    assert len([each for each in talks if "quit=1" not in each]) == lost, talks


def test_stale_copy_in_the_map_of_names_is_told_by_its_name(server: Postfix) -> None:
    """Postfix chooses certificates by SNI from copies that no reload renews: the finding is on that name alone."""
    failure = probe(server, "name-in-map").failure
    assert failure is not None
    assert failure.subject == SECOND_NAME
    assert f"Asked for {SECOND_NAME}" in failure.message


def swept(server: Postfix, name: str, *siblings: Served) -> tuple[list[Reason], list[str]]:
    """Have the operator look into a service while other resources keep `siblings`; return what it lists, too."""
    cluster, clock = FakeCluster(), WallClock()
    secrets = Secrets(cluster)
    for number, each in enumerate((STORED, *siblings)):
        kept = desired(key=Key("mail", f"mx{number}"), secret_name=f"mx{number}-tls")
        chain, key = parse_chain(each.chain_pem.decode()), KeyMaterial(each.key_pem)
        secrets.store(kept, chain, key, ServingSecret(exists=False))
    prober = Prober(LIMITS, now=clock.now)
    probing = Probing(
        cluster, prober, clock, Metrics(), lambda _ref: b"", References(cluster, clock), AUTHORITY.roots_pem
    )
    context = Context(desired(), Snapshot(secret=secrets.serving(desired(secret_name="mx0-tls", dns_names=(HOST,)))))
    step = ProbePods((target(server, name),), Depth.FULL)
    (endpoint,) = probing.probe(context, step).verification.endpoints
    return [each.reason for each in endpoint.findings], cluster.lists


def test_second_certificate_that_another_resource_keeps_is_fine(server: Postfix) -> None:
    """One listing of the namespace's Secrets and resources tells; the server is not asked again."""
    stale, listed = [Reason.SECOND_CERTIFICATE_STALE], [path("mail"), resources_path("mail")]
    assert swept(server, "two-pairs") == (stale, listed)
    assert swept(server, "two-pairs", AUTHORITY.issue()) == (stale, listed)
    before = len(server.talks("two-pairs"))
    assert swept(server, "two-pairs", RSA) == ([], listed)
    with_sibling = len(server.talks("two-pairs")) - before
    assert swept(server, "two-pairs")[0] == stale
    assert len(server.talks("two-pairs")) - before == 2 * with_sibling > 0


def test_server_with_one_certificate_costs_no_listing(server: Postfix) -> None:
    """The usual case asks nothing of the API server."""
    assert swept(server, "good", RSA) == ([], [])


def test_expired_second_certificate_is_told_whoever_keeps_it(server: Postfix) -> None:
    """Clients that ask for its key type fail, even if another resource has it."""
    assert swept(server, "expired-pair", EXPIRED) == ([Reason.SECOND_CERTIFICATE_STALE], [])
