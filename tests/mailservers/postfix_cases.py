"""Postfix, set up well and in the ways that go wrong in practice."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mailservers import sasl, stock
from mailservers.case import Case, Table
from mailservers.certificates import HOST
from mailservers.instance import Instance
from mailservers.postfix import POSTSCREEN, missing, postfix
from mailtls.probe.target import Credentials, Depth, ProxyProtocol, TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason

WRAPPER = "smtpd_tls_wrappermode=yes"
IPV6 = "IPv6"  # no option of Postfix
PROXIED = "smtpd_upstream_proxy_protocol=haproxy"
AUTH_ONLY = "smtpd_tls_auth_only=yes"
MODERN = "smtpd_tls_protocols=>=TLSv1.2"
ENCRYPT = "smtpd_tls_security_level=encrypt"
OLD_CRYPTO = "tls_config_file={home}/old.cnf"
AUTH = ("smtpd_sasl_auth_enable=yes", "smtpd_sasl_type=dovecot", "smtpd_sasl_path=inet:127.0.0.1:{sasl}")
USER = Credentials(sasl.USER, sasl.PASSWORD)
STRANGER = Credentials(sasl.USER, "another password")
FULL = Depth.FULL
IMPLICIT = TlsMode.IMPLICIT
ENFORCED = TlsPolicy.ENFORCED
# What an administrator of an old machine has in openssl.cnf: Debian's own refuses weak keys before anybody sees them.
OLD_OPENSSL = """
postfix = settings
[settings]
ssl_conf = ssl
[ssl]
system_default = all
[all]
MinProtocol = TLSv1
CipherString = ALL:@SECLEVEL=0
"""

CASES = {
    # what should be
    "good": Case(),
    "good-wrapper": Case(options=(WRAPPER,), tls=IMPLICIT),
    "good-tls12": Case(options=("smtpd_tls_protocols=TLSv1.2",)),
    "good-encrypt": Case(options=(ENCRYPT, *AUTH), policy=ENFORCED, thread="testssl/testssl.sh#1832"),
    "good-rsa-and-ecdsa": Case((stock.STORED, stock.RSA)),
    "good-auth": Case(options=(*AUTH, AUTH_ONLY), policy=ENFORCED),
    "good-ipv6": Case(options=(IPV6,)),
    "good-proxy-v1": Case(options=(PROXIED,), proxy=ProxyProtocol.V1),
    "good-proxy-v2": Case(options=(PROXIED,), proxy=ProxyProtocol.V2),
    "good-xclient": Case(options=("smtpd_authorized_xclient_hosts=127.0.0.0/8",), xclient="192.0.2.1"),
    "good-deep": Case((stock.STORED, stock.RSA), (MODERN,), depth=Depth.DEEP),
    "postscreen": Case(options=(POSTSCREEN,), thread="EFForg/starttls-everywhere#69"),
    "asks-for-certificate": Case(options=("smtpd_tls_ask_ccert=yes",), thread="testssl/testssl.sh#1709"),
    "hello-retry": Case(options=("tls_eecdh_auto_curves=secp521r1",), thread="ssllabs/ssllabs-scan#845"),
    "wildcard": Case((stock.WILDCARD,), thread="testssl/testssl.sh#981"),
    "upper-case-name": Case((stock.UPPER_CASE,), thread="matteocorti/check_ssl_cert#22"),
    "no-common-name": Case((stock.NO_COMMON_NAME,), thread="matteocorti/check_ssl_cert#230"),
    "short-lived": Case((stock.SHORT_LIVED,), thread="testssl/testssl.sh#3097"),
    "expired-cross-root": Case((stock.EXPIRED_CROSS_ROOT,), thread="testssl/testssl.sh#1995"),
    "with-root": Case((stock.WITH_ROOT,), thread="testssl/testssl.sh#199"),
    # before TLS
    "helo-refused": Case(
        options=(
            "smtpd_helo_restrictions=check_helo_access static:{{550 5.7.1 we know no such host}}",
            "smtpd_delay_reject=no",
        ),
        reason=Reason.CLIENT_NAME_REFUSED,
        says="client",
        thread="nabla-c0d3/sslyze#606",
    ),
    "xclient-unwanted": Case(xclient="192.0.2.1", reason=Reason.XCLIENT_REFUSED, says="xclient"),
    "proxy-unwanted": Case(proxy=ProxyProtocol.V1, reason=Reason.PROTOCOL_ERROR, says="drop `proxyProtocol`"),
    "tls-off": Case(
        options=("smtpd_tls_security_level=none",),
        policy=ENFORCED,
        reason=Reason.STARTTLS_NOT_ADVERTISED,
        says="PIPELINING",
    ),
    "tls-off-where-it-may-be": Case(
        options=("smtpd_tls_security_level=none",), warns=(Reason.STARTTLS_NOT_ADVERTISED,)
    ),
    "starttls-hidden": Case(
        options=("smtpd_discard_ehlo_keywords=starttls",),
        policy=ENFORCED,
        reason=Reason.STARTTLS_NOT_ADVERTISED,
        says="STARTTLS",
    ),
    "rejects": Case(
        options=("smtpd_client_restrictions=reject", "smtpd_delay_reject=no"), reason=Reason.PROBE_DENIED, says="554"
    ),
    "greylists": Case(
        options=("smtpd_client_restrictions=defer", "smtpd_delay_reject=no"), reason=Reason.SERVER_BUSY, says="450"
    ),
    "greets-421": Case(
        options=(
            "smtpd_client_restrictions=check_client_access static:{{421 4.7.0 too many from you}}",
            "smtpd_delay_reject=no",
        ),
        reason=Reason.SERVER_BUSY,
        says="421 4.7.0",
        thread="testssl/testssl.sh#2098",
    ),
    "wrapper-on-587": Case(
        options=(WRAPPER,), reason=Reason.IMPLICIT_TLS_ON_STARTTLS_PORT, says="wrappermode", patience=3
    ),
    "no-wrapper-on-465": Case(tls=IMPLICIT, reason=Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT, says=f"220 {HOST}"),
    "wants-proxy": Case(
        options=(PROXIED,), reason=Reason.PROXY_HEADER_MISSING, says="set `proxyProtocol`", patience=1.5
    ),
    # the files
    "wrong-key": Case((stock.WRONG_KEY,), reason=Reason.STARTTLS_UNAVAILABLE, says="454 4.7.0"),
    "leaf-last": Case((stock.LEAF_LAST,), reason=Reason.STARTTLS_UNAVAILABLE, says="454 4.7.0"),
    "missing-file": Case(
        options=("smtpd_tls_chain_files={pem}.gone",), reason=Reason.TLS_HANDSHAKE_FAILED, says="key file"
    ),
    "wrong-key-wrapper": Case((stock.WRONG_KEY,), (WRAPPER,), Reason.TLS_HANDSHAKE_FAILED, "key file", tls=IMPLICIT),
    # TLS itself
    "tls11-only": Case(options=("smtpd_tls_protocols=TLSv1.1",), reason=Reason.NO_SHARED_TLS_VERSION, says=">=TLSv1.2"),
    "client-certificate": Case(
        options=(ENCRYPT, "smtpd_tls_req_ccert=yes"),
        reason=Reason.CLIENT_CERTIFICATE_REQUIRED,
        says="req_ccert",
        thread="nabla-c0d3/sslyze#148",
    ),
    "legacy-tls": Case(depth=FULL, warns=(Reason.LEGACY_TLS_ENABLED,)),
    "tls12-only": Case(options=("smtpd_tls_protocols=TLSv1.2",), depth=FULL, warns=(Reason.TLS13_UNSUPPORTED,)),
    "tls13-only": Case(
        options=("smtpd_tls_protocols=TLSv1.3",),
        depth=FULL,
        reason=Reason.TLS12_UNSUPPORTED,
        says="TLS 1.2",
        thread="testssl/testssl.sh#1317",
    ),
    "weak-ciphers": Case(
        options=(MODERN, OLD_CRYPTO, "tls_medium_cipherlist=ALL:COMPLEMENTOFALL:@SECLEVEL=0"),
        depth=FULL,
        warns=(Reason.WEAK_CRYPTO,),
    ),
    # the certificate
    "second-expired": Case(
        (stock.STORED, stock.EXPIRED_RSA),
        (MODERN,),
        depth=FULL,
        reason=Reason.SECOND_CERTIFICATE_STALE,
        says="RSA",
    ),
    "second-not-reloaded": Case(
        (stock.STORED, stock.OLDER_RSA),
        (MODERN,),
        depth=FULL,
        reason=Reason.SECOND_CERTIFICATE_STALE,
        says="not the stored one",
        stored=stock.STORED,
    ),
    "not-reloaded": Case((stock.OLDER,), reason=Reason.SERVING_OLD_CERTIFICATE, says="reload", stored=stock.STORED),
    "not-reloaded-till-expired": Case(
        (stock.EXPIRED,), reason=Reason.SERVING_OLD_CERTIFICATE, says="reload", stored=stock.STORED
    ),
    "of-another-secret": Case(
        (stock.FOREIGN,), reason=Reason.UNEXPECTED_CERTIFICATE, says="Secret", stored=stock.STORED
    ),
    "expired": Case((stock.EXPIRED,), reason=Reason.CERTIFICATE_EXPIRED, says="renew"),
    "not-yet-valid": Case((stock.FUTURE,), reason=Reason.CERTIFICATE_NOT_YET_VALID, says="clock"),
    "expires-soon": Case((stock.ENDING,), warns=(Reason.CERTIFICATE_EXPIRING_SOON,)),
    "submission-for-years": Case((stock.FOR_YEARS,), policy=ENFORCED, warns=(Reason.CERTIFICATE_VALIDITY_TOO_LONG,)),
    "self-signed": Case((stock.SELF_SIGNED,), reason=Reason.SELF_SIGNED, says="self-signed"),
    "unknown-root": Case((stock.UNKNOWN_ROOT,), reason=Reason.UNTRUSTED_ROOT, says="Private Root"),
    "leaf-alone": Case((stock.LEAF_ALONE,), reason=Reason.INCOMPLETE_CHAIN, says="tls.crt"),
    "huge-chain": Case((stock.HUGE_CHAIN,), reason=Reason.TLS_HANDSHAKE_FAILED, says="handshake"),
    "wrong-order": Case((stock.DISORDERED,), warns=(Reason.CHAIN_OUT_OF_ORDER,)),
    "wrong-name-ipv6": Case((stock.OF_ANOTHER,), (IPV6,), reason=Reason.HOSTNAME_MISMATCH, says="mail.example.net"),
    "wrong-name": Case((stock.OF_ANOTHER,), reason=Reason.HOSTNAME_MISMATCH, says="mail.example.net"),
    "common-name-only": Case(
        (stock.COMMON_NAME_ONLY,), reason=Reason.HOSTNAME_MISMATCH, says="common name", thread="testssl/testssl.sh#733"
    ),
    "wildcard-below": Case(
        (stock.WILDCARD_BELOW,),
        reason=Reason.HOSTNAME_MISMATCH,
        says="*.mx1",
        thread="matteocorti/check_ssl_cert#166",
    ),
    "partial-wildcard": Case(
        (stock.PARTIAL_WILDCARD,), reason=Reason.HOSTNAME_MISMATCH, says="mx*", thread="testssl/testssl.sh#1555"
    ),
    "address-only": Case((stock.ADDRESS_ONLY,), reason=Reason.HOSTNAME_MISMATCH, says="127.0.0.1"),
    "for-clients": Case((stock.FOR_CLIENTS,), reason=Reason.WRONG_CERTIFICATE_PURPOSE, says="serverAuth"),
    "weak-key": Case((stock.WEAK_KEY,), (OLD_CRYPTO,), warns=(Reason.WEAK_CRYPTO,)),
    "sha1": Case((stock.SHA1,), (OLD_CRYPTO,), warns=(Reason.WEAK_CRYPTO,)),
    # logins
    "login": Case(options=(*AUTH, AUTH_ONLY, MODERN), depth=FULL, policy=ENFORCED, login=USER),
    "login-fails": Case(
        options=(*AUTH, AUTH_ONLY, MODERN),
        depth=FULL,
        policy=ENFORCED,
        login=STRANGER,
        reason=Reason.AUTH_FAILED,
        says="535",
    ),
    "login-not-offered": Case(
        options=(MODERN,),
        depth=FULL,
        policy=ENFORCED,
        login=USER,
        reason=Reason.AUTH_MISSING,
        says="No login is offered inside TLS",
    ),
    "auth-before-tls": Case(options=AUTH, policy=ENFORCED, warns=(Reason.AUTH_OFFERED_BEFORE_TLS,)),
}


@contextmanager
def serve(cases: Mapping[str, Case]) -> Iterator[Instance]:
    """Run one Postfix with a service per case."""
    with sasl.serving() as port:
        options = {name: _words(case, port) for name, case in cases.items()}
        over_ipv6 = [name for name, case in cases.items() if IPV6 in case.options]
        with postfix(options, over_ipv6) as server:
            (server.home / "old.cnf").write_text(OLD_OPENSSL)
            for name, case in cases.items():
                server.certificate(name, case.pem)
            yield server


def _words(case: Case, sasl_port: int) -> tuple[str, ...]:
    return tuple(option.replace("{sasl}", str(sasl_port)) for option in case.options if option != IPV6)


POSTFIX = Table("Postfix", CASES, serve, missing)
