"""A real haproxy on loopback, in front of a real Postfix: one frontend per case."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mailservers import stock
from mailservers.case import Case, Table
from mailservers.instance import Instance, folder, free_ports, running
from mailservers.postfix import missing, postfix
from mailtls.probe.target import Depth, TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason
from testbed import trees

IMPLICIT, ENFORCED, FULL = TlsMode.IMPLICIT, TlsPolicy.ENFORCED, Depth.FULL
CLEAR, DEAD, PROXIED = "clear", "dead", "proxied"  # a frontend without TLS; which backend, if not plain Postfix
OLD = "ciphers ALL:@SECLEVEL=0 ssl-min-ver TLSv1.0"
BACKENDS = {
    "plain": ("smtpd_tls_security_level=none",),
    "starttls": (),
    PROXIED: ("smtpd_upstream_proxy_protocol=haproxy",),
}
CONFIGURATION = """
global
  stats socket {home}/admin
  ssl-load-extra-files none
  ssl-security-level 0
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
{frontends}
{backends}
backend dead
  server none 127.0.0.1:1
"""

CASES = {
    "good": Case(tls=IMPLICIT),
    "good-two-certificates": Case((stock.STORED, stock.RSA), tls=IMPLICIT),
    "good-tls13-only": Case(options=("ssl-min-ver TLSv1.3",), tls=IMPLICIT),
    "good-by-name": Case((stock.STORED,), ("strict-sni",), tls=IMPLICIT),
    "good-behind-proxy": Case(options=(CLEAR, PROXIED)),
    "proxy-not-sent": Case(
        options=(CLEAR, "broken-proxy"), reason=Reason.PROXY_HEADER_MISSING, says="PROXY", patience=3
    ),
    "proxy-wanted": Case(
        options=("accept-proxy",), tls=IMPLICIT, reason=Reason.PROXY_HEADER_MISSING, says="set `proxyProtocol`"
    ),
    "forwards-in-clear": Case(
        options=(CLEAR,), policy=ENFORCED, reason=Reason.STARTTLS_NOT_ADVERTISED, says="PIPELINING"
    ),
    "clear-on-465": Case(options=(CLEAR,), tls=IMPLICIT, reason=Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT, says="220"),
    "tls-on-587": Case(reason=Reason.IMPLICIT_TLS_ON_STARTTLS_PORT, says="Implicit", patience=3),
    "starttls-again": Case(options=("starttls",), tls=IMPLICIT, warns=(Reason.STARTTLS_READVERTISED,)),
    "dead-backend": Case(options=(DEAD,), tls=IMPLICIT, reason=Reason.NO_BANNER, says="closed"),
    "tls11-only": Case(
        options=(OLD, "ssl-max-ver TLSv1.1"), tls=IMPLICIT, reason=Reason.NO_SHARED_TLS_VERSION, says="1.2"
    ),
    "needs-sni": Case(
        options=("strict-sni",),
        tls=IMPLICIT,
        depth=FULL,
        reason=Reason.SNI_REQUIRED,
        says="default certificate",
        thread="testssl/testssl.sh#316",
    ),
    "second-expired": Case(
        (stock.STORED, stock.EXPIRED_RSA), tls=IMPLICIT, depth=FULL, reason=Reason.SECOND_CERTIFICATE_STALE, says="RSA"
    ),
    "legacy-tls": Case(options=(OLD,), tls=IMPLICIT, depth=FULL, warns=(Reason.LEGACY_TLS_ENABLED,)),
    "tls13-only": Case(
        options=("ssl-min-ver TLSv1.3",), tls=IMPLICIT, depth=FULL, reason=Reason.TLS12_UNSUPPORTED, says="TLS 1.2"
    ),
    "good-full": Case((stock.STORED, stock.RSA), tls=IMPLICIT, depth=FULL),
    "other-name-only": Case(
        (stock.OF_ANOTHER,), ("strict-sni",), Reason.TLS_HANDSHAKE_FAILED, "handshake", tls=IMPLICIT
    ),
    "client-certificate": Case(
        options=("verify required ca-file {roots}",),
        tls=IMPLICIT,
        reason=Reason.CLIENT_CERTIFICATE_REQUIRED,
        says="certificate",
    ),
    "not-reloaded": Case(
        (stock.OLDER,), reason=Reason.SERVING_OLD_CERTIFICATE, says="reload", stored=stock.STORED, tls=IMPLICIT
    ),
    "expired": Case((stock.EXPIRED,), reason=Reason.CERTIFICATE_EXPIRED, says="renew", tls=IMPLICIT),
    "self-signed": Case((stock.SELF_SIGNED,), reason=Reason.SELF_SIGNED, says="self-signed", tls=IMPLICIT),
    "leaf-alone": Case((stock.LEAF_ALONE,), reason=Reason.INCOMPLETE_CHAIN, says="full chain", tls=IMPLICIT),
    "wrong-name": Case((stock.OF_ANOTHER,), reason=Reason.HOSTNAME_MISMATCH, says="example.net", tls=IMPLICIT),
    "weak-key": Case((stock.WEAK_KEY,), (OLD,), tls=IMPLICIT, warns=(Reason.WEAK_CRYPTO,)),
}


@contextmanager
def serve(cases: Mapping[str, Case]) -> Iterator[Instance]:
    """Run one haproxy with a frontend per case, and the Postfix behind it."""
    tree = trees.ensure(trees.SERVERS)
    with postfix(BACKENDS) as backend, folder("haproxy") as home:
        for name in BACKENDS:
            backend.certificate(name, stock.STORED.pem)
        server = Instance(home, free_ports(cases))
        (home / "roots.pem").write_text(stock.AUTHORITY.roots_pem)
        for name, case in cases.items():
            _give_certificates(server, name, case)
        (home / "haproxy.cfg").write_text(_configuration(server, cases, backend))
        with running(server, trees.inside(tree, ["haproxy", "-db", "-f", str(home / "haproxy.cfg")])):
            yield server


def _give_certificates(server: Instance, name: str, case: Case) -> None:
    """Give one file per key type, or haproxy would take the first key of a file for all."""
    crt_list = []
    for number, served in enumerate(case.served):
        file = server.home / f"{name}-{number}.pem"
        file.write_bytes(served.pem)
        crt_list.append(f"{file}\n")
    (server.home / f"{name}.list").write_text("".join(crt_list))


def _configuration(server: Instance, cases: Mapping[str, Case], backend: Instance) -> str:
    frontends = [_frontend(server, name, case) for name, case in cases.items()]
    proxied = {"plain": "", "starttls": "", PROXIED: " send-proxy-v2"}
    backends = [
        f"backend {name}\n  server postfix 127.0.0.1:{backend.ports[name]}{suffix}" for name, suffix in proxied.items()
    ]
    backends.append(f"backend broken-proxy\n  server postfix 127.0.0.1:{backend.ports[PROXIED]}")
    return CONFIGURATION.format(home=server.home, frontends="\n".join(frontends), backends="\n".join(backends))


def _frontend(server: Instance, name: str, case: Case) -> str:
    behind = {"starttls", DEAD, PROXIED, "broken-proxy"} & set(case.options)
    words = [option for option in case.options if option not in {CLEAR, *behind}]
    tls = [] if CLEAR in case.options else ["ssl", f"crt-list {server.home}/{name}.list"]
    bind = " ".join([*tls, *words]).replace("{roots}", f"{server.home}/roots.pem")
    return (
        f"frontend {name}\n  bind 127.0.0.1:{server.ports[name]} {bind}\n"
        f"  default_backend {next(iter(behind), 'plain')}"
    )


HAPROXY = Table("haproxy", CASES, serve, lambda: missing() or trees.obstacle() or "")
