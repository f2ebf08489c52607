"""Trials with Let's Encrypt's staging authority: its roots are trusted where asked, and always with a warning."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from builders.contexts import a_context
from builders.stories import certificate, desired, secret
from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailservers.certificates import HOST, Authority
from mailtls.api.reading.acme import SHORT_NAMES
from mailtls.cli.probe_options import Options, request
from mailtls.kube.references import References
from mailtls.metrics import Metrics
from mailtls.probe.checks.verdict import judge
from mailtls.probe.facts import Facts, Session, Verification
from mailtls.probe.target import Depth, Endpoint, Expected, Port, Target, TlsMode, TlsPolicy
from mailtls.probe.tls.handshake import TrustStore, staging_roots
from mailtls.reasons.reason import Reason, Severity
from mailtls.verification.decide import ProbePods
from mailtls.verification.execute import Probing

NOW = datetime(2026, 6, 1, tzinfo=UTC)
# Two certificates that the authority gave out itself, by X1 and X2, as a server would send them.
CROSS_SIGNED = x509.load_pem_x509_certificates((Path(__file__).parent / "staging-cross-signed.pem").read_bytes())
FINGERPRINTS = {  # as https://letsencrypt.org/docs/staging-environment/ hands the roots out
    "(STAGING) Pretend Pear X1": "e70570a989f8565aabdf7cae27abd1621872d6a3f811e3fef27e3dba02912198",
    "(STAGING) Bogus Broccoli X2": "9b2a339fe6a3e85585c4cd75536cb8c1cf7cd603b9a64bec2521858ae48da85d",
    "(STAGING) Yearning Yucca Root YE": "b59bfc0ba52daf849853b7324a91e82f031db3397f35644157352cde6384b56c",
    "(STAGING) Yonder Yam Root YR": "ef115fb59e040ff39d15fd8f3ef54063c704321d83cb081213272f77d3091672",
}
AUTHORITY = Authority()
GOOD = AUTHORITY.issue()
TARGET = Target("192.0.2.25", Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC), HOST, pod="mx")


def verified(served: x509.Certificate, extra_pem: str = "", *, trusts_staging: bool) -> Verification:
    """Let a trust store judge a chain of one certificate."""
    der = served.public_bytes(Encoding.DER)
    store = TrustStore(extra_pem, NOW, trusts_staging=trusts_staging)
    return store.verify((der,), [crypto.X509.from_cryptography(served)])


def test_roots_are_the_ones_that_the_authority_publishes() -> None:
    """Each is self-signed, says that it is for staging, and has the fingerprint that was published."""
    found = {}
    for root in staging_roots():
        root.verify_directly_issued_by(root)
        (name,) = root.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        found[str(name.value)] = sha256(root.public_bytes(Encoding.DER)).hexdigest()
    assert found == FINGERPRINTS


@pytest.mark.parametrize("served", CROSS_SIGNED)
def test_chain_of_the_staging_authority_is_trusted_where_asked_only(served: x509.Certificate) -> None:
    """With the option it verifies and is marked as a trial; without it, the root is unknown."""
    assert verified(served, trusts_staging=True) == Verification(is_trial=True, is_public=False)
    assert verified(served, trusts_staging=False).code != 0


def test_staging_root_in_a_bundle_of_ones_own_is_a_trial_too() -> None:
    """Whoever trusts it by hand is warned all the same."""
    pem = "".join(root.public_bytes(Encoding.PEM).decode() for root in staging_roots())
    assert verified(CROSS_SIGNED[0], pem, trusts_staging=False).is_trial


def test_bundle_without_roots_is_still_anchored_beside_the_staging_roots() -> None:
    """The staging roots do not count as the roots of the bundle, whose intermediates stay anchors."""
    anchor = AUTHORITY.bundle_pem.replace(AUTHORITY.roots_pem, "")
    store = TrustStore(anchor, datetime.now(UTC), trusts_staging=True)
    der = tuple(each.public_bytes(Encoding.DER) for each in GOOD.chain)
    assert store.verify(der, [crypto.X509.from_cryptography(each) for each in GOOD.chain]) == Verification(
        is_public=False
    )


def test_roots_of_the_system_are_told_from_roots_trusted_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strangers have the system's alone: the same chain is public where its root is one of these."""
    der, chain = tuple(each.public_bytes(Encoding.DER) for each in GOOD.chain), GOOD.chain
    served = [crypto.X509.from_cryptography(each) for each in chain]
    beside = TrustStore(AUTHORITY.roots_pem, datetime.now(UTC)).verify(der, served)
    (tmp_path / "roots.pem").write_text(AUTHORITY.roots_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    both = TrustStore(AUTHORITY.roots_pem, datetime.now(UTC)).verify(der, served)
    system = TrustStore("", datetime.now(UTC)).verify(der, served)
    assert [each.code for each in (beside, both, system)] == [0, 0, 0]
    assert [each.is_public for each in (beside, both, system)] == [False, True, True]


def test_trial_is_a_warning_that_says_what_comes_next() -> None:
    """The certificate is proven, and nobody should take it for one that clients accept."""
    (found,) = judge(TARGET, AUTHORITY.expects(GOOD), facts(Verification(is_trial=True)), datetime.now(UTC)).findings
    assert (found.reason, found.severity) == (Reason.STAGING_CERTIFICATE, Severity.WARN)
    assert "letsencrypt" in found.message
    assert GOOD.sha256 in found.evidence


def test_trial_that_nobody_asked_for_is_said_to_be_one() -> None:
    """The chain ends at a name that begins with (STAGING): that is no private authority's root that was forgotten."""
    trial = Authority("(STAGING) Pretend Pear X1")
    served = trial.issue()
    chain = tuple(each.public_bytes(Encoding.DER) for each in served.chain)
    session = Session(chain, "TLSv1.3", "TLS_AES_256_GCM_SHA384", Verification(20, 1, "unable to get local issuer"))
    (found,) = judge(TARGET, trial.expects(served), Facts(session=session), datetime.now(UTC)).findings
    assert found.reason is Reason.UNTRUSTED_ROOT
    assert "for trials" in found.message


def facts(verification: Verification) -> Facts:
    """Facts of a good session on whose chain OpenSSL says this."""
    chain = tuple(each.public_bytes(Encoding.DER) for each in GOOD.chain)
    return Facts(session=Session(chain, "TLSv1.3", "TLS_AES_256_GCM_SHA384", verification))


class Remembers:
    """A prober that keeps what was expected of the servers."""

    def __init__(self) -> None:
        self.expected: list[Expected] = []

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Answer for each target at once."""
        self.expected.append(expected)
        return [Endpoint(each, NOW, served_sha256=expected.leaf_sha256) for each in targets]


@pytest.mark.parametrize(("name", "trusted"), [("letsencrypt", False), ("letsencrypt-staging", True)])
def test_operator_trusts_the_staging_roots_for_resources_of_that_authority_only(name: str, trusted: bool) -> None:
    """A resource of the real authority that is served a trial certificate must fail."""
    wanted = desired()
    wanted = replace(wanted, acme=replace(wanted.acme, server=SHORT_NAMES[name]))
    prober = Remembers()
    probing = Probing(
        FakeCluster(), prober, WallClock(), Metrics(), lambda _ref: b"", References(FakeCluster(), WallClock())
    )
    probing.probe(a_context(wanted, secret=secret(certificate=certificate())), ProbePods((TARGET,)))
    assert [each.trusts_staging for each in prober.expected] == [trusted]


@pytest.mark.parametrize("staging", [False, True])
def test_option_trusts_the_staging_roots(staging: bool) -> None:
    """`--staging` is for those who run trials without the operator."""
    assert request(Options(targets=("mx1.example.com",), staging=staging)).expected.trusts_staging is staging
