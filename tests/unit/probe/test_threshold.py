"""What users demand beyond the RFCs: of real servers, and as it is written."""

import ssl
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from builders.contexts import a_context
from builders.stories import certificate, desired, secret
from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailservers.certificates import HOST, Authority, Wanted
from mailservers.smtp_tls import Mailbox, mailbox, tls_context
from mailtls.api.spec import DataRef, Probe
from mailtls.cli.probe_options import Options, request
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.kube.references import References
from mailtls.metrics import Metrics
from mailtls.probe.checks.verdict import judge
from mailtls.probe.facts import Facts, Session
from mailtls.probe.prober import Prober
from mailtls.probe.target import (
    Depth,
    Endpoint,
    Expected,
    Port,
    PortThresholds,
    RsaBits,
    Target,
    Thresholds,
    TlsMode,
    TlsPolicy,
    TlsVersion,
    parse_margin,
)
from mailtls.reasons.reason import Finding, Reason, Severity
from mailtls.verification.decide import ProbePods
from mailtls.verification.execute import Probing

AUTHORITY = Authority()
GOOD, RSA = AUTHORITY.issue(), AUTHORITY.issue(Wanted(rsa_bits=2048))
V1_2, V1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
NOW = datetime.now(UTC)


def target(port: int = 25) -> Target:
    """Aim at a port of this machine."""
    where = Port(port, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
    return Target("127.0.0.1", where, HOST, pod="postfix-0", workload="StatefulSet/postfix")


def findings(context: ssl.SSLContext, thresholds: Thresholds, depth: Depth, expected: Expected) -> list[Finding]:
    """Probe a server that speaks TLS like this."""
    with mailbox(Mailbox(context)) as port:
        prober = Prober()
        (endpoint,) = prober.probe([target(port)], replace(expected, thresholds=thresholds), depth)
    return list(endpoint.findings)


def reasons(found: Iterable[Finding]) -> list[tuple[Reason, Severity]]:
    """What was found, without the words."""
    return [(each.reason, each.severity) for each in found]


BELOW = (Reason.TLS_BELOW_MINIMUM, Severity.FAIL)


def test_each_port_is_held_against_its_own_thresholds(tmp_path: Path) -> None:
    """A relay port that takes TLS 1.2 and a submission port that takes 1.3 alone are both as they should be."""
    open_to_all, strict = (tls_context(tmp_path, GOOD) for _ in range(2))
    open_to_all.minimum_version, strict.minimum_version = V1_2, V1_3
    prober, expected = Prober(), AUTHORITY.expects(GOOD)
    of_relay, of_users = PortThresholds(), PortThresholds(minimum_tls=TlsVersion.TLS_1_3)
    with mailbox(Mailbox(open_to_all)) as relay, mailbox(Mailbox(strict)) as submission:
        aims = [at_port(relay, of_relay), at_port(submission, of_users)]
        assert [each.findings for each in prober.probe(aims, expected, Depth.FULL)] == [(), ()]
        swapped = [at_port(relay, of_users), at_port(submission, of_relay)]
        failures = [each.failure for each in prober.probe(swapped, expected, Depth.FULL)]
    assert [each and each.reason for each in failures] == [Reason.TLS_BELOW_MINIMUM, Reason.TLS12_UNSUPPORTED]


def at_port(port: int, own: PortThresholds) -> Target:
    """Aim at a port of this machine that has thresholds of its own."""
    aim = target(port)
    return replace(aim, port=replace(aim.port, thresholds=own))


def test_what_a_port_leaves_out_is_as_the_resource_says() -> None:
    """One threshold of a port changes no other."""
    of_all = Thresholds(timedelta(hours=240), TlsVersion.TLS_1_3, RsaBits.BITS_3072)
    assert of_all.overruled(None) == of_all
    assert of_all.overruled(PortThresholds()) == of_all
    softer = of_all.overruled(PortThresholds(minimum_tls=TlsVersion.TLS_1_2))
    assert softer == replace(of_all, minimum_tls=TlsVersion.TLS_1_2)
    assert of_all.overruled(PortThresholds(expiring_soon=0.2)) == replace(of_all, expiring_soon=0.2)


@pytest.mark.parametrize(
    ("oldest", "newest", "minimum", "depth", "expected"),
    [
        (ssl.TLSVersion.TLSv1_1, V1_3, None, Depth.FULL, [(Reason.LEGACY_TLS_ENABLED, Severity.WARN)]),
        (ssl.TLSVersion.TLSv1_1, V1_3, TlsVersion.TLS_1_2, Depth.FULL, [BELOW]),
        (V1_2, V1_3, TlsVersion.TLS_1_2, Depth.FULL, []),
        (V1_2, V1_3, TlsVersion.TLS_1_3, Depth.FULL, [BELOW]),
        (V1_2, V1_3, TlsVersion.TLS_1_3, Depth.QUICK, []),
        (V1_2, V1_2, TlsVersion.TLS_1_3, Depth.QUICK, [BELOW]),
        (V1_3, V1_3, TlsVersion.TLS_1_3, Depth.FULL, []),
        (V1_3, V1_3, TlsVersion.TLS_1_2, Depth.FULL, [(Reason.TLS12_UNSUPPORTED, Severity.FAIL)]),
        (V1_3, V1_3, None, Depth.FULL, [(Reason.TLS12_UNSUPPORTED, Severity.FAIL)]),
    ],
)
def test_oldest_version_allowed_is_held_against_what_a_server_takes(
    oldest: ssl.TLSVersion,
    newest: ssl.TLSVersion,
    minimum: TlsVersion | None,
    depth: Depth,
    expected: list[tuple[Reason, Severity]],
    tmp_path: Path,
) -> None:
    """A minimum that is given fails, its lack warns, and one of 1.3 wants no 1.2 any more."""
    context = tls_context(tmp_path, GOOD)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = oldest, newest
    found = findings(context, Thresholds(minimum_tls=minimum), depth, AUTHORITY.expects(GOOD))
    relevant = {Reason.TLS_BELOW_MINIMUM, Reason.LEGACY_TLS_ENABLED, Reason.TLS12_UNSUPPORTED}
    assert [each for each in reasons(found) if each[0] in relevant] == expected


@pytest.mark.parametrize(
    ("least", "expected"),
    [
        (None, []),
        (RsaBits.BITS_2048, []),
        (RsaBits.BITS_3072, [(Reason.KEY_BELOW_MINIMUM, Severity.FAIL)]),
    ],
)
def test_smallest_key_allowed_is_held_against_the_served_one(
    least: RsaBits | None, expected: list[tuple[Reason, Severity]], tmp_path: Path
) -> None:
    """A key of 2048 bits is fine, unless more are demanded."""
    found = findings(
        tls_context(tmp_path, RSA), Thresholds(minimum_rsa_bits=least), Depth.QUICK, AUTHORITY.expects(RSA)
    )
    assert reasons(found) == expected


def test_small_key_beside_an_ecdsa_one_is_found_too(tmp_path: Path) -> None:
    """Clients that ask for RSA get the small key, whatever the others get."""
    least = Thresholds(minimum_rsa_bits=RsaBits.BITS_3072)
    seen = findings(tls_context(tmp_path, GOOD, RSA), least, Depth.FULL, AUTHORITY.expects(GOOD))
    (found,) = (each for each in seen if each.reason is Reason.KEY_BELOW_MINIMUM)
    assert RSA.sha256 in found.evidence


@pytest.mark.parametrize(
    ("margin", "left", "words"),
    [
        ("10%", timedelta(days=9), "10% of its lifetime"),
        ("48h", timedelta(hours=48), "48h"),
    ],
)
def test_expiry_is_warned_of_by_the_threshold(margin: str, left: timedelta, words: str) -> None:
    """The edges: an hour before nothing, an hour behind a warning; a certificate lives 90 days here."""
    chain = tuple(each.public_bytes(Encoding.DER) for each in GOOD.chain)
    facts = Facts(session=Session(chain, "TLSv1.3", "TLS_AES_256_GCM_SHA384"))
    expected = replace(AUTHORITY.expects(GOOD), thresholds=Thresholds(parse_margin(margin)))
    edge, hour = GOOD.chain[0].not_valid_after_utc - left, timedelta(hours=1)
    assert judge(target(), expected, facts, edge - hour).findings == ()
    (found,) = judge(target(), expected, facts, edge + hour).findings
    assert (found.reason, found.severity) == (Reason.CERTIFICATE_EXPIRING_SOON, Severity.WARN)
    assert f"less than {words} left" in found.message


@pytest.mark.parametrize("text", ["", "%", "0%", "100%", "033%", "33 %", "1.5%", "30d", "0s", "59m", "8761h", "-1h"])
def test_margin_that_makes_no_sense_is_refused(text: str) -> None:
    """All that the schema refuses, in its words."""
    with pytest.raises(ValueError, match=r"^write a (share|duration)"):
        parse_margin(text)


class Remembers:
    """A prober that keeps what was expected of the servers."""

    def __init__(self) -> None:
        self.expected: list[Expected] = []

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Answer for each target at once."""
        self.expected.append(expected)
        return [Endpoint(each, NOW, served_sha256=expected.leaf_sha256) for each in targets]


def test_operator_probes_by_the_thresholds_of_the_resource() -> None:
    """What the spec demands is what the pods are held against."""
    demanded = Thresholds(timedelta(hours=48), TlsVersion.TLS_1_3, RsaBits.BITS_4096)
    wanted, prober = desired(probe=Probe(thresholds=demanded)), Remembers()
    probing = Probing(
        FakeCluster(), prober, WallClock(), Metrics(), lambda _ref: b"", References(FakeCluster(), WallClock())
    )
    probing.probe(a_context(wanted, secret=secret(certificate=certificate())), ProbePods((target(),)))
    assert [each.thresholds for each in prober.expected] == [demanded]


def test_roots_that_are_missing_are_warned_of_at_each_port() -> None:
    """Otherwise the chain would be called untrusted, and nobody would learn what to create."""

    def nowhere(_ref: DataRef) -> bytes:
        raise AcmeProblem(Finding(Reason.CREDENTIALS_MISSING, "Create the ConfigMap mail/roots with the entry ca.crt."))

    wanted = desired(probe=Probe(trust=DataRef("ConfigMap", "mail", "roots", "ca.crt")))
    probing = Probing(
        FakeCluster(), Remembers(), WallClock(), Metrics(), nowhere, References(FakeCluster(), WallClock())
    )
    have = probing.probe(a_context(wanted, secret=secret(certificate=certificate())), ProbePods((target(),)))
    (warning,) = have.verification.endpoints[0].findings
    assert (warning.reason, warning.severity) == (Reason.CREDENTIALS_MISSING, Severity.WARN)
    assert "ConfigMap mail/roots with the entry ca.crt, as probe.trust names it" in warning.message


def test_options_are_the_thresholds_of_the_command_line() -> None:
    """The same three, with the same defaults."""
    asked = Options(targets=("mx1.example.com",))
    assert request(asked).expected.thresholds == Thresholds()
    asked = replace(asked, expiring_soon="20%", min_tls="1.2", min_rsa_bits="4096")
    assert request(asked).expected.thresholds == Thresholds(0.2, TlsVersion.TLS_1_2, RsaBits.BITS_4096)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"expiring_soon": "30d"}, "For --expiring-soon write a share of the lifetime such as 33%"),
        ({"expiring_soon": ""}, "For --expiring-soon write a share"),
        ({"min_tls": "1.1"}, "For --min-tls write one of 1.2, 1.3."),
        ({"min_rsa_bits": "1024"}, "For --min-rsa-bits write one of 2048, 3072, 4096."),
        ({"min_rsa_bits": "many"}, "For --min-rsa-bits write one of"),
    ],
)
def test_option_that_makes_no_sense_is_refused(changes: dict[str, object], sentence: str) -> None:
    """In one sentence that names the option."""
    with pytest.raises(ValueError, match=sentence):
        request(replace(Options(targets=("mx1.example.com",)), **changes))  # type: ignore[arg-type]
