"""A real Dovecot on loopback: every case has an address of its own, and there all protocols."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mailservers import stock
from mailservers.case import Case, Table
from mailservers.certificates import HOST
from mailservers.instance import Instance, folder, free_ports, running
from mailservers.sasl import PASSWORD
from mailtls.probe.target import Credentials, Depth, Protocol, ProxyProtocol, TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason
from testbed import trees

IMAP, POP3, LMTP, SIEVE = Protocol.IMAP, Protocol.POP3, Protocol.LMTP, Protocol.SIEVE
USER, STRANGER = Credentials("probe", PASSWORD), Credentials("probe", "another password")
FULL = Depth.FULL
IMPLICIT, ENFORCED = TlsMode.IMPLICIT, TlsPolicy.ENFORCED
LISTENERS = ("imap", "imaps", "imap-proxy", "imap-preauth", "pop3", "pop3s", "lmtp", "sieve")
ON = "on "  # "on imaps": that listener, whatever the case dials
CONFIGURATION = """
dovecot_config_version = 2.4.1
dovecot_storage_version = 2.4.1
base_dir = /run/dovecot
log_path = /dev/stderr
protocols = imap pop3 lmtp sieve
listen = {addresses}
hostname = {host}
haproxy_trusted_networks = 127.0.0.0/8
ssl = yes
ssl_server_cert_file = {home}/good.crt
ssl_server_key_file = {home}/good.key
import_environment {{
  USER = probe
  HOME = /tmp/none
}}
mail_driver = maildir
mail_path = /tmp/none
passdb static {{
  password = "{password}"
}}
userdb static {{
  fields {{
    uid = 65534
    gid = 65534
    home = /tmp/none
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
  inet_listener imap-proxy {{
    port = {imap-proxy}
    haproxy = yes
  }}
}}
service imap-preauth {{
  executable = script -p /usr/lib/dovecot/imap -c {file}
  user = nobody
  drop_priv_before_exec = yes
  inet_listener imap-preauth {{
    port = {imap-preauth}
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
service managesieve-login {{
  inet_listener sieve {{
    port = {sieve}
  }}
}}
{settings}
"""

CASES = {
    "imap-good": Case(protocol=IMAP),
    "imaps-good": Case(protocol=IMAP, tls=IMPLICIT),
    "pop3-good": Case(protocol=POP3),
    "pop3s-good": Case(protocol=POP3, tls=IMPLICIT),
    "lmtp-good": Case(protocol=LMTP),
    "sieve-good": Case(protocol=SIEVE),
    "imap-enforced": Case(options=("ssl=required",), protocol=IMAP, policy=ENFORCED, thread="testssl/testssl.sh#1854"),
    "imap-proxy-v2": Case(options=("on imap-proxy",), protocol=IMAP, proxy=ProxyProtocol.V2),
    "imap-proxy-v1": Case(options=("on imap-proxy",), protocol=IMAP, proxy=ProxyProtocol.V1),
    "imap-proxy-not-sent": Case(
        options=("on imap-proxy",), protocol=IMAP, reason=Reason.PROXY_HEADER_MISSING, says="PROXY", patience=1.5
    ),
    "imap-tls-off": Case(
        options=("ssl=no",), protocol=IMAP, policy=ENFORCED, reason=Reason.STARTTLS_NOT_ADVERTISED, says="IMAP4"
    ),
    "pop3-tls-off": Case(
        options=("ssl=no",), protocol=POP3, policy=ENFORCED, reason=Reason.STARTTLS_NOT_ADVERTISED, says="UIDL"
    ),
    "lmtp-tls-off": Case(
        options=("ssl=no",), protocol=LMTP, policy=ENFORCED, reason=Reason.STARTTLS_NOT_ADVERTISED, says="8BITMIME"
    ),
    "sieve-tls-off": Case(options=("ssl=no",), protocol=SIEVE, reason=Reason.STARTTLS_REJECTED, says="TLS sup"),
    "imaps-on-143": Case(
        options=("on imaps",), protocol=IMAP, reason=Reason.IMPLICIT_TLS_ON_STARTTLS_PORT, says="Implicit", patience=3
    ),
    "imap-on-993": Case(
        options=("on imap",), protocol=IMAP, tls=IMPLICIT, reason=Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT, says="* OK"
    ),
    "pop3s-on-110": Case(
        options=("on pop3s",), protocol=POP3, reason=Reason.IMPLICIT_TLS_ON_STARTTLS_PORT, says="Implicit", patience=3
    ),
    "pop3-on-995": Case(
        options=("on pop3",),
        protocol=POP3,
        tls=IMPLICIT,
        reason=Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT,
        says="ssl = yes",
    ),
    "imap-behind-smtp": Case(options=("on imap",), reason=Reason.PROTOCOL_ERROR, says="* OK"),
    "imap-preauth": Case(
        options=("on imap-preauth",), protocol=IMAP, reason=Reason.IMAP_PREAUTH_BLOCKS_STARTTLS, says="PREAUTH"
    ),
    "imap-wrong-key": Case((stock.WRONG_KEY,), protocol=IMAP, reason=Reason.STARTTLS_UNAVAILABLE, says="* BYE"),
    "imap-tls13-only": Case(
        options=("ssl_min_protocol=TLSv1.3",),
        protocol=IMAP,
        depth=FULL,
        reason=Reason.TLS12_UNSUPPORTED,
        says="TLS 1.2",
    ),
    "imap-deep": Case(protocol=IMAP, depth=Depth.DEEP, policy=ENFORCED, login=USER),
    "pop3s-full": Case(protocol=POP3, tls=IMPLICIT, depth=FULL, policy=ENFORCED, login=USER),
    "sieve-deep": Case(protocol=SIEVE, depth=Depth.DEEP, policy=ENFORCED, login=USER),
    "lmtp-deep": Case(protocol=LMTP, depth=Depth.DEEP),
    "imap-login-fails": Case(
        protocol=IMAP,
        depth=FULL,
        policy=ENFORCED,
        login=STRANGER,
        reason=Reason.AUTH_FAILED,
        says="AUTHENTICATIONFAILED",
    ),
    "imap-asks-for-certificate": Case(
        options=("ssl_server_ca_file={home}/roots.pem", "ssl_server_request_client_cert=yes"),
        protocol=IMAP,
        thread="testssl/testssl.sh#215",
    ),
    "imap-not-reloaded": Case(
        (stock.OLDER,), reason=Reason.SERVING_OLD_CERTIFICATE, says="reload", stored=stock.STORED, protocol=IMAP
    ),
    "imap-expired": Case((stock.EXPIRED,), reason=Reason.CERTIFICATE_EXPIRED, says="renew", protocol=IMAP),
    "imaps-not-yet-valid": Case(
        (stock.FUTURE,), reason=Reason.CERTIFICATE_NOT_YET_VALID, says="clock", protocol=IMAP, tls=IMPLICIT
    ),
    "pop3-self-signed": Case((stock.SELF_SIGNED,), reason=Reason.SELF_SIGNED, says="self-signed", protocol=POP3),
    "lmtp-leaf-alone": Case((stock.LEAF_ALONE,), reason=Reason.INCOMPLETE_CHAIN, says="full chain", protocol=LMTP),
    "imap-wrong-order": Case((stock.DISORDERED,), protocol=IMAP, warns=(Reason.CHAIN_OUT_OF_ORDER,)),
    "sieve-wrong-name": Case(
        (stock.OF_ANOTHER,), reason=Reason.HOSTNAME_MISMATCH, says="mail.example.net", protocol=SIEVE
    ),
    "pop3s-common-name-only": Case(
        (stock.COMMON_NAME_ONLY,), reason=Reason.HOSTNAME_MISMATCH, says="common name", protocol=POP3, tls=IMPLICIT
    ),
    "imap-weak-key": Case(
        (stock.WEAK_KEY,), ("ssl_cipher_list=ALL:@SECLEVEL=0",), protocol=IMAP, warns=(Reason.WEAK_CRYPTO,)
    ),
    "imaps-for-years": Case(
        (stock.FOR_YEARS,),
        protocol=IMAP,
        tls=IMPLICIT,
        policy=ENFORCED,
        warns=(Reason.CERTIFICATE_VALIDITY_TOO_LONG,),
    ),
    "imap-auth-before-tls": Case(
        options=("auth_allow_cleartext=yes",),
        protocol=IMAP,
        policy=ENFORCED,
        warns=(Reason.AUTH_OFFERED_BEFORE_TLS,),
    ),
}


@contextmanager
def serve(cases: Mapping[str, Case]) -> Iterator[Instance]:
    """Run a Dovecot with an address per case; LMTP knows no settings by address, so each of its cases has its own."""
    tree = trees.ensure(trees.SERVERS)
    kinds = [name for name, case in cases.items() if case.protocol is LMTP]
    with folder("dovecot") as home, ExitStack() as stack:
        ports_of_all: dict[str, int] = {}
        addresses = {name: f"127.0.1.{number}" for number, name in enumerate(cases, 1)}
        (home / "roots.pem").write_text(stock.AUTHORITY.roots_pem)
        for name, case in {"good": Case(), **cases}.items():
            _give_certificate(home, name, case)
        for group in ([name for name in cases if name not in kinds], *([name] for name in kinds)):
            ports = free_ports(LISTENERS)
            one = Instance(
                home,
                {name: ports[_listener(cases[name])] for name in group},
                {name: addresses[name] for name in group},
            )
            file = home / f"{group[0]}.conf"
            file.write_text(_configuration(one, {name: cases[name] for name in group}, ports, file))
            stack.enter_context(running(one, trees.inside(tree, ["dovecot", "-F", "-c", str(file)])))
            ports_of_all |= one.ports
        yield Instance(home, ports_of_all, addresses)


def _configuration(server: Instance, cases: Mapping[str, Case], listeners: Mapping[str, int], file: Path) -> str:
    return CONFIGURATION.format(
        home=server.home,
        file=file,
        host=HOST,
        addresses=", ".join(server.addresses.values()),
        password=PASSWORD,
        settings="\n".join(_settings(server, name, case) for name, case in cases.items()),
        **listeners,
    )


def _listener(case: Case) -> str:
    chosen = next((option.removeprefix(ON) for option in case.options if option.startswith(ON)), None)
    return chosen or f"{case.protocol}{'s' if case.tls is IMPLICIT else ''}"


def _give_certificate(home: Path, name: str, case: Case) -> None:
    (home / f"{name}.crt").write_bytes(case.served[0].chain_pem)
    (home / f"{name}.key").write_bytes(case.served[0].key_pem)


def _settings(server: Instance, name: str, case: Case) -> str:
    settings = [option.replace("=", " = ", 1) for option in case.options if not option.startswith(ON)]
    files = [f"ssl_server_cert_file = {{home}}/{name}.crt", f"ssl_server_key_file = {{home}}/{name}.key"]
    inside = "\n  ".join([*files, *settings]).replace("{home}", str(server.home))
    return inside if case.protocol is LMTP else f"local {server.addresses[name]} {{\n  {inside}\n}}"


DOVECOT = Table("Dovecot", CASES, serve, lambda: trees.obstacle() or "")
