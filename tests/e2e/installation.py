"""One installation of the operator in a namespace of its own, and the resources that it serves there."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from e2e.operator_process import OperatorProcess, free_port
from testbed.layout import NODE_ADDRESS
from testbed.sandbox import MAIL_SERVER_TLS, PATIENCE, condition_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from testbed.api import Object
    from testbed.pebble import Pebble
    from testbed.sandbox import Sandbox
    from testbed.zones import Zone

SECRET = "mx-tls"
STAGED = f"{SECRET}-next"
CONDITIONS = ("Issued", "Stored", "RolledOut", "Verified", "Ready")
TSIG = {"name": "tsig", "key": "secret"}


@dataclass
class Installation:
    """What all replicas of an operator share, and where its resources live: the test's namespace."""

    sandbox: Sandbox
    zone: Zone
    pebble: Pebble
    folder: Path
    solvers: list[Object] = field(default_factory=list)
    http01_service: str | None = None
    replicas: dict[str, OperatorProcess] = field(default_factory=dict)
    more: dict[str, str] = field(default_factory=dict)
    """Settings of one test, which go before the others."""
    mounts: dict[str, Path] = field(default_factory=dict)
    """What its replicas see in place of files of the machine."""

    def __post_init__(self) -> None:
        """Store what the settings refer to."""
        self.sandbox.put_secret(TSIG["name"], {TSIG["key"]: self.zone.key.secret.encode()})
        self.solvers = self.solvers or [dns01(self.zone)]
        (self.folder / "roots.pem").write_text(self.pebble.root(), encoding="utf-8")
        (self.folder / "resolv.conf").write_text(f"nameserver {NODE_ADDRESS}\n", encoding="utf-8")

    def replica(self, name: str = "mailtls-0") -> OperatorProcess:
        """A replica, started or not; its name is its identity in the election, so a restart need not wait."""
        if name not in self.replicas:
            log = self.folder / f"{name}.log"
            self.replicas[name] = OperatorProcess(
                self._environment(name), self.folder / "resolv.conf", log, mounts=self.mounts
            )
        return self.replicas[name]

    def start(self, name: str = "mailtls-0") -> OperatorProcess:
        """Start a replica."""
        return self.replica(name).start()

    def remove(self) -> None:
        """End every replica, tell what they said, and let go of what an open order holds: the namespace must go."""
        for name, replica in self.replicas.items():
            replica.kill()
            print(f"--- {name}\n{replica.text()}")
        for secret in self.sandbox.objects("secrets"):
            if secret["metadata"].get("finalizers"):
                self.sandbox.patch("secrets", secret["metadata"]["name"], {"metadata": {"finalizers": None}})

    def _environment(self, name: str) -> dict[str, str]:
        settings = {
            "KUBECONFIG": str(self.sandbox.cluster.layout.kubeconfig),
            "POD_NAME": name,
            "POD_IP": NODE_ADDRESS,
            "MAILTLS_NAMESPACE": self.sandbox.name,
            "MAILTLS_WATCH_NAMESPACES": self.sandbox.name,
            "MAILTLS_LOG_FORMAT": "text",
            "MAILTLS_LOG_LEVEL": "debug",
            "MAILTLS_METRICS_PORT": str(free_port()),
            "MAILTLS_HTTP01_PORT": str(free_port()),
            "MAILTLS_ACME_SERVER": self.pebble.directory_url,
            "MAILTLS_ACME_EMAIL": f"postmaster@{self.zone.name}",
            "MAILTLS_ACME_CA_BUNDLE_FILE": str(self.pebble.authority),
            "MAILTLS_ACME_SOLVERS": json.dumps(self.solvers),
            "MAILTLS_TRUST_BUNDLE_FILE": str(self.folder / "roots.pem"),
            # Where the tests lead names to.
            "MAILTLS_ALLOWED_NETWORKS": "127.0.0.0/8,198.18.0.0/15,10.96.0.0/16,2001:db8::/32",
        }
        service = {"MAILTLS_HTTP01_SERVICE": self.http01_service} if self.http01_service else {}
        return settings | service | self.more

    # resources

    def apply(self, *labels: str, name: str = "mx", secret: str = SECRET, **spec: Any) -> Object:
        """Apply a MailServerTLS for these names of the zone."""
        names = [self.zone.host(label) for label in labels or ("mx",)]
        manifest = {
            "apiVersion": "mailtls.dev/v1alpha1",
            "kind": "MailServerTLS",
            "metadata": {"name": name},
            "spec": {"dnsNames": names, "secretName": secret, **spec},
        }
        return self.sandbox.apply(manifest)[0]

    def get(self, name: str = "mx") -> Object:
        """A MailServerTLS."""
        return self.sandbox.get(MAIL_SERVER_TLS, name)

    def await_ready(self, name: str = "mx", *, within: float = PATIENCE) -> Object:
        """Wait until it is Ready."""
        return self.sandbox.wait_for_condition(MAIL_SERVER_TLS, name, within=within)

    def await_reason(self, reason: str, name: str = "mx", *, within: float = PATIENCE) -> Object:
        """Wait until it is not Ready for this reason; gives the condition."""
        seen = self.sandbox.wait_for_condition(MAIL_SERVER_TLS, name, status="False", reason=reason, within=within)
        found = condition_of(seen, "Ready")
        assert found is not None
        return found

    def renew(self, wanted: str, name: str = "mx") -> None:
        """Ask for a new certificate now, as a user does."""
        self.sandbox.annotate(MAIL_SERVER_TLS, name, mailtls_dev__renew=wanted)

    def await_renewed(self, wanted: str, name: str = "mx", *, within: float = PATIENCE) -> Object:
        """Wait until the wanted is granted and all is Ready again."""
        return self._await_handled("Renew", wanted, name, within)

    def roll_back(self, wanted: str, name: str = "mx", *, within: float = PATIENCE) -> Object:
        """Ask for the certificate before, as a user does, and wait until the wanted is heeded and all is Ready."""
        self.sandbox.annotate(MAIL_SERVER_TLS, name, mailtls_dev__rollback=wanted)
        return self._await_handled("Rollback", wanted, name, within)

    def _await_handled(self, kind: str, wanted: str, name: str, within: float) -> Object:
        def handled(seen: Object | None) -> bool:
            heeded = (seen or {}).get("status", {}).get(f"lastHandled{kind}")
            ready = condition_of(seen, "Ready")
            return heeded == wanted and ready is not None and ready["status"] == "True"

        seen = self.sandbox.wait_for(MAIL_SERVER_TLS, name, handled, within=within)
        assert seen is not None
        return seen

    def delete(self, name: str = "mx") -> None:
        """Delete it, as a user does."""
        self.sandbox.delete(MAIL_SERVER_TLS, name)

    # what came of it

    def retries(self, kind: str, replica: str = "mailtls-0") -> float:
        """How often a running replica has put something of this kind off to try it again."""
        port = self.replica(replica).environment["MAILTLS_METRICS_PORT"]
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            text: str = answer.read().decode()
        found = [line for line in text.splitlines() if line.startswith(f'mailtls_retries_total{{kind="{kind}"}}')]
        return float(found[0].rsplit(" ", 1)[1])

    def leaf(self, secret: str = SECRET) -> x509.Certificate:
        """The certificate that a Secret holds."""
        return x509.load_pem_x509_certificates(self.sandbox.secret(secret)["tls.crt"])[0]

    def fingerprint(self, secret: str = SECRET) -> str:
        """SHA-256 of the certificate that a Secret holds."""
        return self.leaf(secret).fingerprint(SHA256()).hex()

    def wake_pods(self, app: str, secret: str, known: str) -> None:
        """Have the kubelet look at a Secret when it holds another certificate than the known one.

        By itself it does so within a minute or two, and the operator does not wake it where it leaves the pods alone.
        """
        self.sandbox.wait_for("secrets", secret, lambda _seen: self.fingerprint(secret) != known)
        for pod in self.sandbox.objects("pods", f"app={app}"):
            self.sandbox.annotate("pods", pod["metadata"]["name"], woken=known)

    def journal(self, secret: str = STAGED) -> Object | None:
        """What a staged Secret tells of its order; None where there is none."""
        found = self.sandbox.find("secrets", secret)
        if found is None:
            return None
        journal: Object = json.loads(base64.b64decode(found["data"]["order.json"]))
        return journal

    def await_order(self, secret: str = STAGED, *, within: float = PATIENCE) -> str:
        """Wait until an order is open and its URL saved; gives the URL."""
        self._await_staged(lambda journal: journal is not None and journal["open"] and journal["url"], secret, within)
        journal = self.journal(secret)
        assert journal is not None
        return str(journal["url"])

    def _await_staged(self, until: Callable[[Object | None], bool], secret: str, within: float) -> None:
        self.sandbox.wait_for("secrets", secret, lambda _seen: bool(until(self.journal(secret))), within=within)


def dns01(zone: Zone, **selector: Any) -> Object:
    """A DNS-01 solver by the zone's own key."""
    rfc2136 = {
        "server": zone.server,
        "tsigKeyName": zone.key.name,
        "tsigAlgorithm": zone.key.algorithm,
        "tsigSecretRef": TSIG,
    }
    return {"dns01": {"rfc2136": rfc2136}, **({"selector": selector} if selector else {})}
