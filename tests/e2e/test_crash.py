"""The operator is killed right before and right after each of its effects, and started again.

In every case the certificate is issued by the one order that there ever was, with the key that was staged for it, and
no challenge record stays in the DNS.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from e2e.crashing import AFTER, BEFORE, EFFECT, EFFECTS, MOMENT
from e2e.installation import SECRET, STAGED, Installation
from e2e.laggard import challenge_records
from e2e.served import served_fingerprint
from testbed.mailserver import PORTS, MailServer, self_signed
from testbed.sandbox import PATIENCE

if TYPE_CHECKING:
    from testbed.zones import NameServer

pytestmark = pytest.mark.cluster

IN_PODS = ("wake", "reload")


@pytest.mark.parametrize("moment", [BEFORE, AFTER])
@pytest.mark.parametrize(
    "effect", [effect for effect in EFFECTS if effect not in {*IN_PODS, "go-back", "second-reload", "written-again"}]
)
def test_operator_killed_at_an_effect_of_issuing_goes_on_with_the_same_order(
    installation: Installation, names: NameServer, effect: str, moment: str
) -> None:
    """Whatever was in the air is found again."""
    sandbox = installation.sandbox
    sandbox.put_placeholder(SECRET, self_signed([installation.zone.host("mx")]))
    installation.apply()
    staged_key = crash(installation, effect, moment)
    installation.start()
    installation.await_ready()
    expect_one_order(installation, names, staged_key)


@pytest.mark.parametrize("moment", [BEFORE, AFTER])
@pytest.mark.parametrize("effect", IN_PODS)
def test_operator_killed_while_it_tells_a_pod_tells_it_again(
    installation: Installation, names: NameServer, effect: str, moment: str
) -> None:
    """A pod told twice serves as well as one told once."""
    host = installation.zone.host("mx")
    postfix = MailServer(installation.sandbox, host, replicas=1).deploy()
    installation.apply(workloads=[{"kind": postfix.kind, "name": postfix.name}])
    staged_key = crash(installation, effect, moment)
    installation.start()
    assert installation.await_ready()["status"]["served"] == "3/3"
    expect_one_order(installation, names, staged_key)
    wanted, roots = installation.fingerprint(), installation.pebble.root()
    for address in postfix.addresses().values():
        assert {served_fingerprint(address, port, host, roots) for port in PORTS.values()} == {wanted}


def crash(installation: Installation, effect: str, moment: str) -> bytes | None:
    """Let the operator run until it dies at the effect; gives the key that is staged then."""
    doomed = installation.replica().start(module="e2e.crashing", **{EFFECT: effect, MOMENT: moment})
    assert doomed.wait(PATIENCE) == -signal.SIGKILL, doomed.text()
    if installation.sandbox.find("secrets", STAGED) is None:
        return None
    return installation.sandbox.secret(STAGED)["tls.key"]


def expect_one_order(installation: Installation, names: NameServer, staged_key: bytes | None) -> None:
    """See that the crash cost neither an order nor a key nor an account, and that all is tidy."""
    assert installation.pebble.orders() == 1
    assert installation.pebble.accounts() == 1
    served_key, kept_key = (installation.sandbox.secret(name)["tls.key"] for name in (SECRET, STAGED))
    assert served_key == kept_key == (staged_key or kept_key)
    journal = installation.journal()
    assert journal is not None
    assert not journal["open"]
    assert challenge_records(names, installation.zone) == []
