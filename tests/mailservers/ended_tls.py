"""A real haproxy that ends TLS before a real Dovecot, which has to be told of it or lets nobody log in."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mailservers import dovecot, stock
from mailservers.case import Case, Table
from mailservers.instance import Instance, folder, free_ports, running
from mailtls.probe.target import Depth, Protocol, TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason
from testbed import trees

IMAP, POP3 = Protocol.IMAP, Protocol.POP3
IMPLICIT, ENFORCED, FULL = TlsMode.IMPLICIT, TlsPolicy.ENFORCED, Depth.FULL
TOLD = "on imap-proxy"
CONFIGURATION = """
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
{frontends}
"""

CASES = {
    "imap-told-of-tls": Case(
        options=(TOLD,), protocol=IMAP, tls=IMPLICIT, policy=ENFORCED, depth=FULL, login=dovecot.USER
    ),
    "imap-login-fails": Case(
        options=(TOLD,),
        protocol=IMAP,
        tls=IMPLICIT,
        policy=ENFORCED,
        depth=FULL,
        login=dovecot.STRANGER,
        reason=Reason.AUTH_FAILED,
        says="AUTHENTICATIONFAILED",
    ),
    "imap-logins-hidden": Case(
        options=("on imap",),
        protocol=IMAP,
        tls=IMPLICIT,
        policy=ENFORCED,
        depth=FULL,
        login=dovecot.USER,
        reason=Reason.TLS_REQUIRED_FOR_AUTH,
        says="offers STARTTLS and no login",
    ),
    "pop3-logins-hidden": Case(
        options=("on pop3",),
        protocol=POP3,
        tls=IMPLICIT,
        policy=ENFORCED,
        depth=FULL,
        login=dovecot.USER,
        reason=Reason.TLS_REQUIRED_FOR_AUTH,
        says="offers STLS and no login",
    ),
    "imap-logins-refused": Case(
        options=("on imap", "imap_capability=IMAP4rev1 AUTH=PLAIN"),
        protocol=IMAP,
        tls=IMPLICIT,
        policy=ENFORCED,
        depth=FULL,
        login=dovecot.USER,
        reason=Reason.TLS_REQUIRED_FOR_AUTH,
        says="PRIVACYREQUIRED",
    ),
}


@contextmanager
def serve(cases: Mapping[str, Case]) -> Iterator[Instance]:
    """Run a Dovecot with all cases, and a haproxy with a frontend for each."""
    tree = trees.ensure(trees.SERVERS)
    with dovecot.serve(cases) as behind, folder("ended-tls") as home:
        server = Instance(home, free_ports(cases))
        (home / "stored.pem").write_bytes(stock.STORED.pem)
        frontends = "\n".join(_frontend(server, behind, name, case) for name, case in cases.items())
        (home / "haproxy.cfg").write_text(CONFIGURATION.format(frontends=frontends))
        with running(server, trees.inside(tree, ["haproxy", "-db", "-f", str(home / "haproxy.cfg")])):
            yield server


def _frontend(server: Instance, behind: Instance, name: str, case: Case) -> str:
    address, port = behind.where(name)
    tells = " send-proxy-v2-ssl" if TOLD in case.options else ""
    return (
        f"listen {name}\n  bind 127.0.0.1:{server.ports[name]} ssl crt {server.home}/stored.pem\n"
        f"  server dovecot {address}:{port}{tells}"
    )


ENDED_TLS = Table("TLS ended before", CASES, serve, lambda: trees.obstacle() or "")
