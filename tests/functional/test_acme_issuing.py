"""Whole issuances against a real Pebble in strict mode."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509

from functional.acme_issuing import Client, Issuance, csr_for, issue
from functional.challenge_dns import ChallengeDns
from functional.pebble import Options, Pebble, running_pebble
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.issuance.certificates import ends_in
from mailtls.issuance.order import Fail, Present
from mailtls.reasons.reason import Reason

pytestmark = pytest.mark.pebble

_PROFILES = {
    "domainBlocklist": ["blocked.example"],
    "profiles": {
        "default": {"description": "the usual", "validityPeriod": 7776000},
        "shortlived": {"description": "days", "validityPeriod": 518400},
    },
}


@pytest.fixture(scope="module")
def pebble() -> Iterator[Pebble]:
    """A Pebble that believes every proof, with two profiles and two alternate roots."""
    with running_pebble(Options(config=_PROFILES, alternate_roots=2)) as running:
        yield running


def _names(pem: str) -> set[str]:
    leaf = x509.load_pem_x509_certificate(pem.encode())
    return set(
        leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    )


@pytest.mark.parametrize("count", [1, 2, 5])
def test_warm_account_issues_with_the_fewest_requests(pebble: Pebble, count: int) -> None:
    """An issuance for n names takes exactly 4 + 3n requests once directory, account and nonce are there."""
    client = Client(pebble)
    issue(client, ["warm.example.com"])
    before = client.request_count()
    names = [f"mx{number}.example.com" for number in range(count)]
    chain = issue(client, names, wait_at_least=0.3)
    assert client.request_count() - before == 4 + 3 * count
    assert _names(chain) == set(names)


def test_reused_authorizations_leave_four_requests() -> None:
    """Names that were proven before need no authorization to be read, and no challenge."""
    with running_pebble(Options(authorization_reuse=100)) as pebble:
        client = Client(pebble)
        issue(client, ["a.example.com", "b.example.com"])
        before = client.request_count()
        issue(client, ["a.example.com", "b.example.com"], wait_at_least=0.3)
        assert client.request_count() - before == 4


def test_partly_reused_authorizations_prove_only_the_new_name() -> None:
    """An order that mixes proven and new names presents the new one alone."""
    with running_pebble(Options(authorization_reuse=100)) as pebble:
        client = Client(pebble)
        issue(client, ["a.example.com"])
        names = ["a.example.com", "b.example.com"]
        issuance = Issuance(client.account, client.account.new_order(names), csr_for(names), client.clock)
        assert isinstance(issuance.run(), str)
        presents = [action for action in issuance.actions if isinstance(action, Present)]
        assert [[proof.authorization.name for proof in present.challenges] for present in presents] == [
            ["b.example.com"]
        ]


def test_rejected_nonces_fail_no_issuance() -> None:
    """With one nonce in five rejected, sixteen workers on one account issue all they want and register once."""
    with running_pebble(Options(nonce_reject=20)) as pebble:
        client = Client(pebble)
        with ThreadPoolExecutor(16) as workers:
            chains = list(workers.map(lambda number: issue(client, [f"n{number}.example.com"]), range(48)))
        assert [_names(chain) for chain in chains] == [{f"n{number}.example.com"} for number in range(48)]
        assert client.requests["new-account", "201"] == 1
        assert client.requests["new-account", "200"] == 0
        assert sum(count for (_, code), count in client.requests.items() if code == "400") > 20


def test_profile_of_the_order_reaches_the_certificate(pebble: Pebble) -> None:
    """A profile that the CA offers decides the certificate's lifetime."""
    client = Client(pebble)
    order = client.account.new_order(["p.example.com"], profile="shortlived")
    chain = Issuance(client.account, order, csr_for(["p.example.com"]), client.clock).run()
    assert isinstance(chain, str)
    leaf = x509.load_pem_x509_certificate(chain.encode())
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days in {5, 6}


def test_open_order_of_another_profile_is_not_found_again(pebble: Pebble) -> None:
    """An order that a crash left behind is used only for the profile that is wanted now."""
    client = Client(pebble)
    order, now = client.account.new_order(["q.example.com"], profile="shortlived"), client.clock.now()
    assert client.account.find_open(["q.example.com"], now, profile="default") is None
    found = client.account.find_open(["q.example.com"], now, profile="shortlived")
    assert found is not None
    assert found.url == order.url


def test_given_back_order_is_not_found_again(pebble: Pebble) -> None:
    """An order whose authorizations were deactivated is dead, and no later search returns it."""
    client = Client(pebble)
    order = client.account.new_order(["r.example.com"])
    assert client.account.deactivate(order)
    assert client.account.find_open(["r.example.com"], client.clock.now()) is None


def test_unknown_profile_is_refused_before_ordering(pebble: Pebble) -> None:
    """A profile that the directory does not list needs a person, who is told the profiles there are."""
    client, before = Client(pebble), pebble.orders_made()
    with pytest.raises(AcmeProblem, match="default, shortlived") as caught:
        client.account.new_order(["p.example.com"], profile="tlsserver")
    assert caught.value.finding.reason is Reason.PROFILE_UNKNOWN
    assert caught.value.needs_person
    assert pebble.orders_made() == before


def test_forbidden_name_is_rejected_with_its_name(pebble: Pebble) -> None:
    """A name that the CA's policy forbids ends the order, and the message holds the CA's words."""
    with pytest.raises(AcmeProblem, match="forbidden domain") as caught:
        Client(pebble).account.new_order(["mx.blocked.example"])
    assert caught.value.finding.reason is Reason.ORDER_REJECTED
    assert not caught.value.transient


def test_preferred_chain_is_chosen_among_the_alternates(pebble: Pebble) -> None:
    """The chain that leads to the requested root is taken; without one, the default."""
    client = Client(pebble)
    order = client.account.new_order(["c.example.com"])
    issuance = Issuance(client.account, order, csr_for(["c.example.com"]), client.clock)
    default = issuance.run()
    roots = [
        pebble.root(number).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value for number in range(3)
    ]
    assert len(set(roots)) == 3
    for root in map(str, roots):
        offer = client.account.download(issuance.order, root)
        assert ends_in(offer.chain_pem, root)
        assert offer.roots == ()
    unknown = client.account.download(issuance.order, "Root of nobody")
    assert unknown.chain_pem == default
    assert set(unknown.roots) == set(roots)


def test_missing_solver_fails_and_names_the_name(pebble: Pebble) -> None:
    """A name that no solver covers fails before anything is presented."""
    client = Client(pebble)
    order = client.account.new_order(["s.example.com"])
    failure = Issuance(client.account, order, b"", client.clock, challenge_type=None).run()
    assert isinstance(failure, Fail)
    assert failure.finding.reason is Reason.NO_SOLVER
    assert "s.example.com" in failure.finding.message


def test_wildcard_by_http_fails_and_names_what_the_ca_takes(pebble: Pebble) -> None:
    """HTTP-01 cannot prove a wildcard; the message names dns-01."""
    client = Client(pebble)
    order = client.account.new_order(["*.w.example.com"])
    failure = Issuance(client.account, order, b"", client.clock, challenge_type="http-01").run()
    assert isinstance(failure, Fail)
    assert failure.finding.reason is Reason.NO_SOLVER
    assert "*.w.example.com" in failure.finding.message
    assert "dns-01" in failure.finding.message


def test_real_validation_accepts_the_computed_answers() -> None:
    """Pebble's own DNS lookups find the values computed for a name and its wildcard, presented together."""
    with ChallengeDns() as zone, running_pebble(Options(always_valid=False, dns_server=zone.address)) as pebble:
        client, names = Client(pebble), ["v.example.com", "*.v.example.com"]
        account = client.account

        def present(present: Present) -> None:
            for proof in present.challenges:
                zone.add(f"_acme-challenge.{proof.authorization.name}", account.dns01_value(proof.challenge.token))

        order = account.new_order(names)
        chain = Issuance(account, order, csr_for(names), client.clock, present=present).run()
        assert isinstance(chain, str), chain
        assert _names(chain) == set(names)


def test_wrong_proof_fails_with_the_cas_words_and_leaves_nothing_pending() -> None:
    """A proof that the CA does not see fails the order, names the name, and the rest is given back."""
    with ChallengeDns() as zone, running_pebble(Options(always_valid=False, dns_server=zone.address)) as pebble:
        client, names = Client(pebble), ["x.example.com", "y.example.com"]
        zone.add("_acme-challenge.x.example.com", "wrong")
        zone.add("_acme-challenge.y.example.com", "wrong")
        issuance = Issuance(client.account, client.account.new_order(names), csr_for(names), client.clock)
        failure = issuance.run()
        assert isinstance(failure, Fail)
        assert failure.finding.reason is Reason.CHALLENGE_FAILED
        assert ".example.com: Let the challenge's answer reach the CA" in failure.finding.message
        assert client.account.deactivate(issuance.order)
        after = client.account.resume(issuance.order.url)
        assert not [each for each in after.authorizations if each.status == "pending"]
