"""A pod that does not start without its Secret: it starts on a placeholder, and is not restarted for a certificate.

Nor for another placeholder: while the CA does not answer, one takes the place of the other before it expires.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from e2e.crashing import AFTER, AGES_IN, BEFORE, EFFECT, MOMENT
from e2e.laggard import orders_held
from e2e.served import served_fingerprint
from testbed.mailserver import PORTS, MailServer
from testbed.sandbox import MAIL_SERVER_TLS, PATIENCE, condition_of

if TYPE_CHECKING:
    from e2e.installation import Installation
    from testbed.zones import NameServer

pytestmark = pytest.mark.cluster


def test_pod_starts_on_the_placeholder_and_gets_the_certificate_without_a_restart(
    installation: Installation, names: NameServer
) -> None:
    """The kubelet holds the pod until its Secret is there; the CA answers only once the pod runs.

    The operator is killed right before and right after it makes the placeholder anew.
    """
    sandbox, host = installation.sandbox, installation.zone.host("mx")
    postfix = MailServer(sandbox, host, replicas=1)
    sandbox.apply(postfix.service(), postfix.workload())  # mounts a Secret that nobody has made
    with orders_held(names, installation.zone) as laggard:
        installation.apply(bootstrap="SelfSigned", workloads=[{"kind": postfix.kind, "name": postfix.name}])
        kill_at_another_placeholder(installation, BEFORE)
        first = installation.leaf()
        postfix.wait_until_ready()
        started = [pod["metadata"]["uid"] for pod in postfix.pods()]
        kill_at_another_placeholder(installation, AFTER)
        installation.start()
        installation.await_order()
        placeholder = installation.leaf()
        assert placeholder.issuer == placeholder.subject == first.subject
        assert placeholder.serial_number != first.serial_number
        seen = sandbox.wait_for_condition(
            MAIL_SERVER_TLS, "mx", "Stored", status="False", reason="SelfSignedPlaceholder"
        )
        ready, verified = condition_of(seen, "Ready"), condition_of(seen, "Verified")
        assert ready is not None
        assert ready["status"] == "False"
        assert verified is not None
        assert verified["status"] == "Unknown"
        assert "certificate" not in seen["status"]
        laggard.release()
        installation.await_ready()
    assert installation.leaf().issuer != installation.leaf().subject
    assert [pod["metadata"]["uid"] for pod in postfix.pods()] == started
    assert [each["restartCount"] for pod in postfix.pods() for each in pod["status"]["containerStatuses"]] == [0]
    for address in postfix.addresses().values():
        served = {served_fingerprint(address, port, host, installation.pebble.root()) for port in PORTS.values()}
        assert served == {installation.fingerprint()}
    assert sandbox.find("secrets", "mx-tls-previous") is None
    assert installation.pebble.orders() == 1


def kill_at_another_placeholder(installation: Installation, moment: str) -> None:
    """Let the operator run until it dies as it makes a placeholder anew, ten seconds after it was made."""
    settings = {EFFECT: "written-again", MOMENT: moment, AGES_IN: "10"}
    doomed = installation.replica().start(module="e2e.crashing", **settings)
    assert doomed.wait(PATIENCE) == -signal.SIGKILL, doomed.text()
