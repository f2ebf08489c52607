"""A real OpenSMTPD on loopback: one listener per case."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mailservers import stock
from mailservers.case import Case, Table
from mailservers.certificates import HOST
from mailservers.instance import Instance, folder, free_ports, running
from mailtls.probe.target import TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason
from testbed import trees

IMPLICIT, ENFORCED = TlsMode.IMPLICIT, TlsPolicy.ENFORCED
PLAIN, SMTPS, PROXY = "plain", "smtps", "proxy-v2"
# A listener names its mode and more: `tls` unless an option is one of those above.
CASES = {
    "good": Case(thread="openssl/openssl#11209"),
    "good-smtps": Case(options=(SMTPS,), tls=IMPLICIT),
    "good-require": Case(options=("tls-require",)),
    "good-auth": Case(options=("tls-require", "auth <users>"), policy=ENFORCED),
    "tls-off": Case(options=(PLAIN,), policy=ENFORCED, reason=Reason.STARTTLS_NOT_ADVERTISED, says="8BITMIME"),
    "smtps-on-587": Case(options=(SMTPS,), reason=Reason.IMPLICIT_TLS_ON_STARTTLS_PORT, says="Implicit", patience=3),
    "no-smtps-on-465": Case(tls=IMPLICIT, reason=Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT, says=f"220 {HOST}"),
    "wants-proxy": Case(options=(PROXY,), reason=Reason.PROXY_HEADER_MISSING, says="PROXY", patience=1.5),
    "client-certificate": Case(
        options=("tls-require verify",), reason=Reason.CLIENT_CERTIFICATE_REQUIRED, says="Remove verify"
    ),
    "not-reloaded": Case((stock.OLDER,), reason=Reason.SERVING_OLD_CERTIFICATE, says="reload", stored=stock.STORED),
    "expired": Case((stock.EXPIRED,), reason=Reason.CERTIFICATE_EXPIRED, says="renew"),
    "not-yet-valid": Case((stock.FUTURE,), reason=Reason.CERTIFICATE_NOT_YET_VALID, says="clock"),
    "self-signed": Case((stock.SELF_SIGNED,), reason=Reason.SELF_SIGNED, says="self-signed"),
    "leaf-alone": Case((stock.LEAF_ALONE,), reason=Reason.INCOMPLETE_CHAIN, says="full chain"),
    "wrong-name": Case((stock.OF_ANOTHER,), reason=Reason.HOSTNAME_MISMATCH, says="mail.example.net"),
    "common-name-only": Case((stock.COMMON_NAME_ONLY,), reason=Reason.HOSTNAME_MISMATCH, says="common name"),
}


@contextmanager
def serve(cases: Mapping[str, Case]) -> Iterator[Instance]:
    """Run one smtpd with a listener per case."""
    tree = trees.ensure(trees.OPENSMTPD)
    with folder("opensmtpd") as home:
        server = Instance(home, free_ports(cases))
        (home / "users").write_text("probe@example.com *\n")
        for name, case in cases.items():
            _give_certificate(server, name, case)
        (home / "smtpd.conf").write_text("\n".join(_configuration(server, cases)) + "\n")
        with running(server, trees.inside(tree, ["smtpd", "-d", "-f", str(home / "smtpd.conf")])):
            yield server


def _give_certificate(server: Instance, name: str, case: Case) -> None:
    (server.home / f"{name}.crt").write_bytes(case.served[0].chain_pem)
    key = server.home / f"{name}.key"
    key.write_bytes(case.served[0].key_pem)
    key.chmod(0o600)  # smtpd insists


def _configuration(server: Instance, cases: Mapping[str, Case]) -> Iterator[str]:
    yield f"table users file:{server.home}/users"
    for name in cases:
        yield f'pki {name} cert "{server.home}/{name}.crt"'
        yield f'pki {name} key "{server.home}/{name}.key"'
    for name, case in cases.items():
        yield f"listen on 127.0.0.1 port {server.ports[name]} {_words(name, case)} hostname {HOST}"
    yield 'action "drop" maildir "/tmp/none"'
    yield 'match from any for domain "none.invalid" action "drop"'


def _words(name: str, case: Case) -> str:
    if PLAIN in case.options:
        return ""
    mode = [] if any(option.startswith(("tls-require", SMTPS)) for option in case.options) else ["tls"]
    words = [option for option in case.options if not option.startswith("auth")]
    return " ".join([*mode, *words, f"pki {name}", *(option for option in case.options if option.startswith("auth"))])


OPENSMTPD = Table("OpenSMTPD", CASES, serve, lambda: trees.obstacle() or "")
