"""A real Exim on loopback: one daemon, whose settings depend on the port."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mailservers import stock
from mailservers.case import Case, Table
from mailservers.certificates import HOST
from mailservers.instance import Instance, folder, free_ports, running
from mailtls.probe.target import Credentials, Depth, TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason
from testbed import trees

ON_CONNECT = "tls_on_connect"
CONFIGURATION = """
primary_hostname = {host}
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = /var/spool/exim4
log_file_path = {home}/logs/%slog
local_interfaces = <; 127.0.0.1
daemon_smtp_ports = <; {ports}
tls_on_connect_ports = <; {on_connect}
tls_certificate = {home}/$received_port.pem
host_lookup =
rfc1413_query_timeout = 0s
keep_environment =
{settings}
begin acl
welcome:
  accept
delay:
  accept delay = 3s
defer:
  defer message = come back later
deny:
  deny message = not from here
old_ciphers:
  accept encrypted = AES128-SHA
  deny message = 538 5.7.11 Encryption required
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{probe@example.com}}}}{{eq{{$auth3}}{{not a secret}}}}}}}}
"""
# What holds where a case says nothing.
DEFAULTS = {
    "tls_advertise_hosts": "*",
    "tls_require_ciphers": "NORMAL",
    "tls_verify_hosts": "",
    "auth_advertise_hosts": "",
    "acl_smtp_connect": "welcome",
    "acl_smtp_auth": "welcome",
}
IMPLICIT, ENFORCED = TlsMode.IMPLICIT, TlsPolicy.ENFORCED
USER = Credentials("probe@example.com", "not a secret")

CASES = {
    "good": Case(),
    "good-on-connect": Case(options=(ON_CONNECT,), tls=IMPLICIT),
    "good-slow": Case(options=("acl_smtp_connect=delay",), thread="testssl/testssl.sh#218"),
    "good-auth": Case(options=("auth_advertise_hosts=${if def:tls_in_cipher{*}}",), policy=ENFORCED),
    "tls-off": Case(
        options=("tls_advertise_hosts=",), policy=ENFORCED, reason=Reason.STARTTLS_NOT_ADVERTISED, says="PIPELINING"
    ),
    "defers": Case(options=("acl_smtp_connect=defer",), reason=Reason.SERVER_BUSY, says="come back later"),
    "denies": Case(options=("acl_smtp_connect=deny",), reason=Reason.PROBE_DENIED, says="not from here"),
    "tarpit": Case(
        options=("acl_smtp_connect=delay",),
        reason=Reason.NO_BANNER,
        says="timed out",
        patience=1.5,
        thread="internetstandards/Internet.nl#153",
    ),
    "on-connect-on-587": Case(
        options=(ON_CONNECT,), reason=Reason.IMPLICIT_TLS_ON_STARTTLS_PORT, says="Implicit", patience=3
    ),
    "no-on-connect-on-465": Case(tls=IMPLICIT, reason=Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT, says=f"220 {HOST}"),
    "wrong-key": Case((stock.WRONG_KEY,), reason=Reason.STARTTLS_UNAVAILABLE, says="454"),
    "missing-file": Case((), reason=Reason.STARTTLS_UNAVAILABLE, says="454"),
    "unreadable-file": Case(options=("unreadable",), reason=Reason.STARTTLS_UNAVAILABLE, says="may not read them"),
    "tls11-only": Case(
        options=("tls_require_ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.1:%COMPAT",),
        reason=Reason.NO_SHARED_TLS_VERSION,
        says="1.2",
    ),
    "client-certificate": Case(
        options=("tls_verify_hosts=*",), reason=Reason.CLIENT_CERTIFICATE_REQUIRED, says="certificate of its clients"
    ),
    "not-reloaded": Case((stock.OLDER,), reason=Reason.SERVING_OLD_CERTIFICATE, says="reload", stored=stock.STORED),
    "expired": Case((stock.EXPIRED,), reason=Reason.CERTIFICATE_EXPIRED, says="renew"),
    "self-signed": Case((stock.SELF_SIGNED,), reason=Reason.SELF_SIGNED, says="self-signed"),
    "leaf-alone": Case((stock.LEAF_ALONE,), reason=Reason.INCOMPLETE_CHAIN, says="full chain"),
    "wrong-name": Case((stock.OF_ANOTHER,), reason=Reason.HOSTNAME_MISMATCH, says="mail.example.net"),
    "good-sorted": Case((stock.DISORDERED,)),  # GnuTLS puts a chain in order
    "weak-key": Case((stock.WEAK_KEY,), warns=(Reason.WEAK_CRYPTO,)),
    "auth-before-tls": Case(
        options=("auth_advertise_hosts=*",), policy=ENFORCED, warns=(Reason.AUTH_OFFERED_BEFORE_TLS,)
    ),
    "auth-wants-old-ciphers": Case(
        options=("auth_advertise_hosts=${if def:tls_in_cipher{*}}", "acl_smtp_auth=old_ciphers"),
        policy=ENFORCED,
        depth=Depth.FULL,
        login=USER,
        reason=Reason.TLS_REQUIRED_FOR_AUTH,
        says="538 5.7.11",
    ),
    "auth-lost-in-tls": Case(
        options=("auth_advertise_hosts=${if def:tls_in_cipher{}{*}}",),
        policy=ENFORCED,
        reason=Reason.AUTH_MISSING,
        says="not inside TLS",
    ),
}


@contextmanager
def serve(cases: Mapping[str, Case]) -> Iterator[Instance]:
    """Run one Exim with a port per case."""
    tree = trees.ensure(trees.SERVERS)
    with folder("exim") as home:
        server = Instance(home, free_ports(cases))
        (home / "logs").mkdir(mode=0o777)
        (home / "logs").chmod(0o777)
        for name, case in cases.items():
            _give_certificate(server, name, case)
        (home / "exim.conf").write_text(_configuration(server, cases))
        command = ["exim4", "-C", str(home / "exim.conf"), "-bdf"]
        with running(server, trees.inside(tree, command)):
            yield server


def _give_certificate(server: Instance, name: str, case: Case) -> None:
    file = server.home / f"{server.ports[name]}.pem"
    if case.served:
        file.write_bytes(case.pem)
        file.chmod(0o600 if "unreadable" in case.options else 0o644)


def _configuration(server: Instance, cases: Mapping[str, Case]) -> str:
    chosen: dict[str, dict[int, str]] = defaultdict(dict)
    for name, case in cases.items():
        for option in case.options:
            key, separator, value = option.partition("=")
            if separator:
                chosen[key][server.ports[name]] = value
    on_connect = [str(server.ports[name]) for name, case in cases.items() if ON_CONNECT in case.options]
    settings = "\n".join(f"{key} = {_by_port(chosen[key], otherwise)}" for key, otherwise in DEFAULTS.items())
    return CONFIGURATION.format(
        host=HOST,
        home=server.home,
        ports=" ; ".join(map(str, server.ports.values())),
        on_connect=" ; ".join(on_connect),
        settings=settings,
    )


def _by_port(values: Mapping[int, str], otherwise: str) -> str:
    """Write a setting whose value depends on the port that the client knocked at."""
    written = otherwise
    for port, value in values.items():
        written = f"${{if eq{{$received_port}}{{{port}}}{{{value}}}{{{written}}}}}"
    return written


EXIM = Table("Exim", CASES, serve, lambda: trees.obstacle() or "")
