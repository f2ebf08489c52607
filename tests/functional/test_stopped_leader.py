"""A leader that is stopped between the look at its lease and the first octet of its request, as a real process."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import mailtls
from builders.hostile_ca import CA
from mailservers.certificates import Wanted

LEASE = 3.0  # seconds from the first look at it, within which the leader connects on a slow machine too

LEADER = textwrap.dedent("""
    import sys
    from time import monotonic
    from mailtls.controller.election import Leadership, LeadershipLost
    from mailtls.api.spec import PrivateKeyPolicy
    from mailtls.issuance.acme.network import Network, RequestKind
    from mailtls.issuance.acme.session import account_key
    from mailtls.issuance.certificates import new_key
    from mailtls.net.effects import guarded

    url, lease, roots = sys.argv[1], float(sys.argv[2]), sys.stdin.read()
    key, alg = account_key(new_key(PrivateKeyPolicy()).pem)
    network = Network(url, key, alg, lambda *_: None, roots_pem=roots)
    network._keep(b"nonce")
    leadership, looks = Leadership(), []

    def look():
        if not looks:
            leadership.extend(monotonic() + lease)
        looks.append(monotonic())
        leadership.require()

    try:
        with guarded(look):
            network.send(url, None, RequestKind.NEW_ORDER, account_url=url, new_nonce_url=url)
    except LeadershipLost:
        sys.exit(3)
""")


def test_leader_stopped_while_it_connects_sends_no_order_when_it_goes_on() -> None:
    """It had looked at its lease, and was stopped until another leads: it looks again before it sends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "server.pem"
        file.write_bytes(CA.issue(Wanted(names=("localhost",), common_name="localhost")).pem)
        context.load_cert_chain(file)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://localhost:{server.getsockname()[1]}/order"
        command = [sys.executable, "-c", LEADER, url, str(LEASE)]
        leader = subprocess.Popen(
            command, stdin=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(Path(mailtls.__file__).parents[1])}
        )
        assert leader.stdin is not None
        leader.stdin.write(CA.roots_pem.encode())
        leader.stdin.close()
        try:
            server.settimeout(120.0)
            connection, _ = server.accept()  # it is about to shake hands, so it has looked at its lease
            leader.send_signal(signal.SIGSTOP)
            time.sleep(LEASE * 1.5)  # what has to pass is the time of the lease itself
            leader.send_signal(signal.SIGCONT)
            connection.settimeout(120.0)
            with context.wrap_socket(connection, server_side=True) as talk:
                assert talk.recv(1) == b""
            assert leader.wait(120) == 3
        finally:
            leader.kill()
            leader.wait()
