"""Renewal information (RFC 9773) and replacing orders, against a real Pebble."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from acme import messages
from cryptography import x509

from functional.acme_issuing import Client, issue
from functional.pebble import Pebble, running_pebble
from mailtls.issuance.acme.network import RequestKind
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.reasons.reason import Reason

pytestmark = pytest.mark.pebble


@pytest.fixture(scope="module")
def pebble() -> Iterator[Pebble]:
    """A Pebble that believes every proof."""
    with running_pebble() as running:
        yield running


def _set_window(pebble: Pebble, chain: str, answer: str) -> None:
    pebble.management("POST", "/set-renewal-info/", json={"Certificate": chain, "ARIResponse": answer})


def _window(start: str, end: str, **more: str) -> str:
    return json.dumps({"suggestedWindow": {"start": start, "end": end}, **more})


def test_fresh_certificate_has_a_window_inside_its_lifetime(pebble: Pebble) -> None:
    """The CA tells a window between issuance and expiry, and when to ask again."""
    client = Client(pebble)
    chain = issue(client, ["ari.example.com"])
    leaf = x509.load_pem_x509_certificate(chain.encode())
    window = client.account.renewal_window(chain)
    assert window is not None
    assert leaf.not_valid_before_utc < window.start < window.end < leaf.not_valid_after_utc
    assert timedelta(hours=5) < window.check_again_at - client.clock.now() <= timedelta(hours=6)
    assert client.requests["renewal-info", "200"] == 1


def test_explanation_of_an_early_window_is_kept(pebble: Pebble) -> None:
    """A CA that wants a renewal now, for a cause, is passed on with the cause's URL."""
    client = Client(pebble)
    chain = issue(client, ["early.example.com"])
    answer = _window("2026-01-01T00:00:00Z", "2026-01-02T00:00:00.5+01:00", explanationURL="https://ca.example/why")
    _set_window(pebble, chain, answer)
    window = client.account.renewal_window(chain)
    assert window is not None
    assert window.explanation_url == "https://ca.example/why"
    assert window.end - window.start == timedelta(hours=23, seconds=0.5)


@pytest.mark.parametrize(
    "answer",
    [
        _window("2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z"),
        _window("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"),
        _window("soon", "later"),
        '{"suggestedWindow": {"start": "2026-01-02T00:00:00Z"}}',
        '{"suggestedWindow": null}',
        "[]",
        "no JSON",
    ],
)
def test_unusable_window_is_no_window(pebble: Pebble, answer: str) -> None:
    """An answer that is no window counts as none: transient, and asked again in six hours."""
    client = Client(pebble)
    chain = issue(client, ["bad.example.com"])
    _set_window(pebble, chain, answer)
    with pytest.raises(AcmeProblem) as caught:
        client.account.renewal_window(chain)
    assert caught.value.transient
    assert caught.value.retry_at is not None
    assert timedelta(hours=5) < caught.value.retry_at - client.clock.now() <= timedelta(hours=6)


def test_certificate_of_another_ca_has_no_window(pebble: Pebble) -> None:
    """A CA refuses to tell about a certificate that is not its own; that is asked again in six hours, not at once."""
    with running_pebble() as other:
        foreign = issue(Client(other), ["foreign.example.com"])
    with pytest.raises(AcmeProblem, match="goes by the certificate's lifetime") as caught:
        Client(pebble).account.renewal_window(foreign)
    assert caught.value.retry_at is not None


def test_expired_certificate_is_not_asked_about(pebble: Pebble) -> None:
    """After expiry no request is made (RFC 9773 section 4.3)."""
    client = Client(pebble)
    chain = issue(client, ["old.example.com"])
    client.clock.advance(timedelta(days=400))
    assert client.account.renewal_window(chain) is None
    assert not [kind for kind, _ in client.requests if kind == "renewal-info"]


def test_second_replacement_is_ordered_without_the_reference(pebble: Pebble) -> None:
    """A certificate that was replaced already does not stand in the way of another order."""
    client = Client(pebble)
    replaces = client.account.replaces_id(issue(client, ["rep.example.com"]))
    assert replaces
    issue(client, ["rep.example.com"], replaces=replaces)
    assert client.requests["new-order", "409"] == 0
    issue(client, ["rep.example.com"], replaces=replaces)
    assert client.requests["new-order", "409"] == 1


def test_reference_to_a_foreign_certificate_is_dropped(pebble: Pebble) -> None:
    """A CA that does not know the certificate to be replaced still takes the order."""
    with running_pebble() as other:
        foreign = issue(Client(other), ["moved.example.com"])
    client = Client(pebble)
    issue(client, ["moved.example.com"], replaces=client.account.replaces_id(foreign))
    assert client.requests["new-order", "201"] == 1


def revoke(client: Client, chain: str) -> None:
    """Revoke a certificate as superseded (RFC 8555 section 7.6), as its owner may with another client."""
    session, leaf = client.account._session, x509.load_pem_x509_certificate(chain.encode())
    message = messages.Revocation(certificate=leaf, reason=4)
    session.post(RequestKind.CERTIFICATE, session.directory()["revokeCert"], message)


def test_revoked_certificate_is_due_at_once(pebble: Pebble) -> None:
    """Revoking is taken by the CA, whose window then lies in the past."""
    client = Client(pebble)
    chain = issue(client, ["rev.example.com"])
    revoke(client, chain)
    window = client.account.renewal_window(chain)
    assert window is not None
    assert window.end < client.clock.now()


def test_broken_ca_is_transient_and_without_a_time(pebble: Pebble) -> None:
    """When the CA does not answer, the caller's own backoff decides when to ask again."""
    with running_pebble() as mortal:
        client = Client(mortal)
        chain = issue(client, ["gone.example.com"])
        mortal.kill()
        with pytest.raises(AcmeProblem) as caught:
            client.account.renewal_window(chain)
    assert caught.value.transient
    assert caught.value.retry_at is None
    assert caught.value.finding.reason is Reason.ACME_UNREACHABLE
