"""A renewed certificate that clients refuse reaches one pod, and goes back, whoever dies meanwhile."""

from __future__ import annotations

import signal
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from e2e.crashing import AFTER, EFFECT, MOMENT
from e2e.events import await_told, told
from e2e.served import IMPLICIT, served_fingerprint
from testbed.mailserver import PORTS, MailServer
from testbed.sandbox import PATIENCE

if TYPE_CHECKING:
    from e2e.installation import Installation
    from testbed.api import Object

pytestmark = pytest.mark.cluster
REFUSED = "refused"
PREVIOUS = "mx-tls-previous"


class Clients:
    """Connect to every pod all the time; `saw` is what each pod has shown them since, in its order."""

    def __init__(self, installation: Installation, postfix: MailServer) -> None:
        """Begin to connect."""
        self.host, self.roots = installation.zone.host("mx"), installation.pebble.root()
        self.addresses, self.saw = postfix.addresses(), {name: list[str]() for name in postfix.addresses()}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._connect)
        self._thread.start()

    def _connect(self) -> None:
        while not self._stopping.wait(0.05):
            for name, address in self.addresses.items():
                found, saw = self._look(address), self.saw[name]
                if found and saw[-1:] != [found]:
                    saw.append(found)

    def _look(self, address: str) -> str:
        try:
            return served_fingerprint(address, IMPLICIT, self.host, self.roots)
        except ssl.SSLCertVerificationError:
            return REFUSED
        except (OSError, AssertionError):  # a process of Postfix that ends takes its client along
            return ""

    def leave(self) -> dict[str, list[str]]:
        """Stop, and return what they saw."""
        self._stopping.set()
        self._thread.join()
        return self.saw


def test_certificate_that_clients_refuse_reaches_one_pod_and_goes_back_over_a_kill(
    installation: Installation,
) -> None:
    """Killed between the Secret and the pods, it goes on; two pods never changed, and no third order is made."""
    postfix = MailServer(installation.sandbox, installation.zone.host("mx"), replicas=3, keeps=True).deploy()
    first, chosen = _ready(installation, postfix)
    assert chosen["status"]["secret"]["verified"]
    clients = Clients(installation, postfix)
    installation.replica().kill()
    doomed = installation.replica().start(module="e2e.crashing", **{EFFECT: "go-back", MOMENT: AFTER})
    installation.renew("1")
    assert doomed.wait(PATIENCE) == -signal.SIGKILL, doomed.text()
    refused = installation.leaf(PREVIOUS)
    installation.start()
    said = installation.await_reason("RolledBack")
    seen = _await_everywhere(installation)
    saw = clients.leave()
    _expect_first_everywhere(installation, postfix, first)
    assert [shown for shown in saw.values() if shown != [first]] == [[first, REFUSED, first]]
    for words in (f"{refused.serial_number:x}", "UntrustedRoot", "pod postfix-", "kubectl mailtls rollback NAME"):
        assert words in said["message"]
    assert installation.pebble.orders() == 2
    assert [each["event"] for each in seen["status"]["history"]] == ["Issued", "Issued", "RolledBack"]
    await_told(installation, ("Warning", "RolledBack"))
    assert told(installation).count(("Warning", "RolledBack")) == 1
    assert {each["restartCount"] for pod in postfix.pods() for each in pod["status"]["containerStatuses"]} == {0}


def test_hold_leaves_the_first_pod_for_a_person_who_goes_back(installation: Installation) -> None:
    """The other pod keeps the certificate before; a request brings it back to the first one as well."""
    postfix = MailServer(installation.sandbox, installation.zone.host("mx"), keeps=True).deploy()
    first, _ = _ready(installation, postfix, rollout={"onFailure": "Hold"})
    clients = Clients(installation, postfix)
    installation.renew("1")
    said = installation.await_reason("CanaryFailed")
    assert "spec.rollout.onFailure is Hold" in said["message"]
    installation.roll_back("1")
    saw = clients.leave()
    assert sorted(saw.values(), key=len) == [[first], [first, REFUSED, first]]
    _expect_first_everywhere(installation, postfix, first)
    assert installation.pebble.orders() == 2


def _ready(installation: Installation, postfix: MailServer, **spec: Any) -> tuple[str, Object]:
    """Have every pod prove a certificate; the next one leads to a root that no client trusts."""
    installation.start()
    workloads = [{"kind": postfix.kind, "name": postfix.name}]
    installation.apply(workloads=workloads, **spec)
    installation.await_ready()
    other = x509.load_pem_x509_certificate(installation.pebble.root(1).encode())
    name = other.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    installation.apply(workloads=workloads, acme={"preferredChain": name}, **spec)
    return installation.leaf().fingerprint(SHA256()).hex(), installation.await_ready()


def _await_everywhere(installation: Installation) -> Object:
    def is_back(seen: Object | None) -> bool:
        status = (seen or {}).get("status", {})
        return bool(status.get("served") == "9/9" and status["secret"].get("verified"))

    found = installation.sandbox.wait_for("mailservertls", "mx", is_back)
    assert found is not None
    return found


def _expect_first_everywhere(installation: Installation, postfix: MailServer, first: str) -> None:
    host, roots = installation.zone.host("mx"), installation.pebble.root()
    for address in postfix.addresses().values():
        assert {served_fingerprint(address, port, host, roots) for port in PORTS.values()} == {first}
    assert installation.fingerprint() == first
