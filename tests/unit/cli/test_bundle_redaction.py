"""What leaves a cluster in a support bundle: no secret, whatever it looks like; names, numbers and times stay."""

import json
import textwrap
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import example, given
from hypothesis import strategies as st

from mailtls.cli.bundle.known import forms_of
from mailtls.cli.bundle.redaction import REMOVED, Redactor
from mailtls.reasons.reason import Reason

WINDOW = 20
KEYS = tuple(
    key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()
    for key in (ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048))
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL)
)


def body(pem: str) -> str:
    """The base64 of a key."""
    return "".join(line for line in pem.split() if len(line) > WINDOW and "-" not in line)


def pieces(secret: str) -> set[str]:
    """All that must not be found: every run of so many characters of it."""
    return {secret[at : at + WINDOW] for at in range(len(secret) - WINDOW + 1)}


WRITTEN: dict[str, Callable[[str, int], str]] = {
    "as it is": lambda pem, _width: pem,
    "in JSON": lambda pem, _width: json.dumps({"message": pem}),
    "in JSON in JSON": lambda pem, _width: json.dumps(json.dumps({"message": pem})),
    "on one line": lambda pem, _width: " ".join(pem.split()),
    "reflowed": lambda pem, width: "\n".join(textwrap.wrap(body(pem), width)),
    "indented": lambda pem, width: textwrap.indent("\n".join(textwrap.wrap(body(pem), width)), "    > "),
    "without its end": lambda pem, _width: pem.rpartition("-----END")[0],
    "in base64": lambda pem, _width: b64encode(pem.encode()).decode(),
    "in base64 twice": lambda pem, _width: b64encode(b64encode(pem.encode())).decode(),
}


@given(st.sampled_from(KEYS), st.sampled_from(sorted(WRITTEN)), st.integers(40, 76), st.text(max_size=40))
def test_no_private_key_is_left_however_it_is_written(pem: str, how: str, width: int, around: str) -> None:
    """Of a key that no Secret of the bundle holds, so that only its form gives it away."""
    written = WRITTEN[how](pem, width)
    left = Redactor().text(f"{around} {written} {around}")
    hidden = pieces(body(pem)) | pieces(b64encode(pem.encode()).decode())
    assert not [each for each in hidden if each in left]


@example(545564, 6, "tsig ", "")  # begins with an octet that would be white space in text
@given(
    st.integers(0, 2**32), st.integers(6, 64), st.sampled_from(["token=", "tsig ", '{"x": "', "Bearer ", ""]), st.text()
)
def test_no_secret_that_the_cluster_knows_is_left(seed: int, length: int, before: str, around: str) -> None:
    """Even one that is short or made of words: raw, in base64 of either alphabet, and in hexadecimal digits."""
    secret = Random(seed).randbytes(length).hex().encode()[:length] if seed % 2 else Random(seed).randbytes(length)
    redactor = Redactor([secret])
    for form in (b64encode(secret).decode(), urlsafe_b64encode(secret).decode(), secret.hex()):
        assert form.rstrip("=") not in redactor.text(f"{around}{before}{form}{around}").replace(around, "")
    if seed % 2:
        assert secret.decode() not in redactor.text(f"{before}{secret.decode()}")


@pytest.mark.parametrize(
    "said",
    [
        "hmac-sha256:mailtls:q2Hy1bT7s0dZk3v9QeXr5A8uJwLmNcPfGhYtBzKiVxE=",
        'key "mailtls" { algorithm hmac-sha256; secret "q2Hy1bT7s0dZk3v9QeXr5A8uJwLmNcPfGhYtBzKiVxE="; };',
        "Authorization: Bearer q2Hy1bT7s0dZk3v9QeXr",
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.q2Hy1bT7s0dZk3v9QeXr5A8uJwLmNcPfGhYtBzKiVxE",
        "https://mailtls:q2Hy1bT7@ns1.example.com/update",
        "password=q2Hy1bT7",
        '{"api_token": "q2Hy1bT7"}',
        r"{\"smtpPassword\": \"q2Hy1bT7\"}",
        "PASSWORD: q2Hy1bT7",
        "dop_v1_" + "q2hy1bt7" * 8,
        "answered keyAuth q2Hy1bT7s0dZk3v9QeXr5A8uJwLmNcPfGhYtBzKiVxE.q2Hy1bT7s0dZk3v9QeXr5A8uJwLmNcPfGhYtBzKiVxE",
    ],
)
def test_what_looks_like_a_credential_is_removed(said: str) -> None:
    """By the word before it, by how such things are written, or because it is no word."""
    left = Redactor().text(said)
    assert "q2Hy1bT7".lower() not in left.lower()
    assert REMOVED in left


@pytest.mark.parametrize(
    "said",
    [
        *map(str, Reason),
        "2026-11-30T16:12:05.123456Z the server postfix-7d9c6b5f4d-x2k8p of mx1.example.com answers 421",
        "statefulset.apps/postfix in /apis/mailtls.dev/v1alpha1/namespaces/mail/mailservertls/mx",
        "uid 5f0c2a3e-9d4b-4c1e-8a7f-0123456789ab resourceVersion 123456789",
        f"registry.example.com/mail/postfix@sha256:{'0123456789abcdef' * 4}",
        "TLS_AES_256_GCM_SHA384 ECDHE-RSA-AES256-GCM-SHA384 X25519MLKEM768 TLSv1.3",
        'mailtls_reconcile_duration_seconds_bucket{le="0.25"} 12',
        '{"secret": "mx-tls", "secretName": "mx-tls", "privateKey": {"rotationPolicy": "Always"}}',
        "Secret mx-tls is written by cert-manager; basic constraints are critical.",
        "MAILTLS_MAX_CONCURRENT_ROLLOUTS lastTransitionTime fingerprintSHA256 /var/run/secrets/kubernetes.io",
        "fe80::1 198.51.100.7:25 postmaster@example.com",
    ],
)
def test_what_support_needs_stays(said: str) -> None:
    """Names, reasons, times, digests, versions and addresses are read as they were written."""
    assert Redactor(public=["mx-tls"]).text(said) == said


def test_values_are_redacted_at_every_depth_by_key_and_by_form() -> None:
    """Names of fields included; what is public by its name stays."""
    given_ = {"env": [{"password": "word"}, {"q2Hy1bT7s0dZk3v9QeXr5A8uJwLmNcPf": 1}], "tlsSecretRef": {"name": "tsig"}}
    shown = Redactor().value(given_)
    assert shown == {"env": [{"password": REMOVED}, {REMOVED: 1}], "tlsSecretRef": {"name": "tsig"}}


def test_short_secrets_are_not_searched_for() -> None:
    """One of a few characters would be found in every word."""
    assert not list(forms_of(b"true"))
    assert Redactor([b"true", b"true  \n", b"      "]).text("that is      true") == "that is      true"
