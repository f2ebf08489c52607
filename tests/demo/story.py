"""The chapters of the demo, in order; each tells what it does and stops with one sentence when it cannot."""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from rich.console import Console
from rich.table import Table

from demo.client import Stream, look
from testbed.console import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable

    from demo.stage import Stage
    from testbed.api import Object
    from testbed.mailserver import MailServer
    from testbed.sandbox import Sandbox

_EVERYWHERE = "Every pod has certificate"
RESOURCE = "mailservertls.mailtls.dev"
CHAPTERS = ("Issued", "Stored", "RolledOut", "Verified", "Ready")
screen = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Story:
    """One telling, on one stage, about its mail server."""

    stage: Stage
    started_at: float

    @property
    def sandbox(self) -> Sandbox:
        """The namespace that it happens in."""
        return self.stage.sandbox

    def tell(self) -> float:
        """Tell it from the first Postfix to the broken mount; return the seconds from the resource to the proof."""
        server = self.start_postfix()
        self.apply_resource()
        applied_at = time.monotonic()
        self.follow("Ready", lambda ready: ready["status"] == "True")
        proved_in = time.monotonic() - applied_at
        self.show_table(server)
        self.renew_under_traffic(server)
        self.turn_a_bad_one_down(server)
        self.break_the_mount(server)
        return proved_in

    def say(self, line: str) -> None:
        """Print one line with the time since the start."""
        screen.print(f"[dim]{time.monotonic() - self.started_at:6.1f}s[/dim]  {line}")

    def title(self, line: str) -> None:
        """Begin a chapter."""
        screen.print()
        self.say(f"[bold]{line}[/bold]")

    def start_postfix(self) -> MailServer:
        """A StatefulSet of two Postfix pods whose Secret holds what nobody trusts."""
        self.title("A StatefulSet of two Postfix pods starts, with a self-signed certificate")
        server = self.stage.mail_server(secret="mx").deploy(wait=False)
        self.stage.await_ready(server)
        for target in self.stage.targets(server):
            if target.port == 25:
                address = server.addresses()[target.pod]
                self.say(f"{target.pod} at {address} serves {look(target).sha256[:16]}… on port 25")
        return server

    def apply_resource(self) -> None:
        """What a user writes."""
        manifest = (
            "apiVersion: mailtls.dev/v1alpha1\n"
            "kind: MailServerTLS\n"
            "metadata: {name: mx}\n"
            "spec:\n"
            f"  dnsNames: [{self.stage.host}]\n"
            "  workloads: [{kind: StatefulSet, name: postfix}]\n"
        )
        self.title("kubectl apply -f - <<EOF")
        screen.print(manifest.rstrip(), style="cyan", markup=False)
        self.sandbox.apply(manifest)

    def follow(self, condition: str, until: Callable[[Object], bool], within: float = 240.0) -> Object:
        """Print each change of each condition until one is as wanted."""
        said: dict[str, tuple[str, str]] = {}
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            found = self.conditions()
            for kind in (kind for kind in CHAPTERS if kind in found):
                self._tell(found[kind], said)
            if condition in found and until(found[condition]):
                return found[condition]
            time.sleep(0.1)
        raise Trouble(f"{condition} did not come within {within:.0f} s; see {self.look_around()}")

    def conditions(self) -> dict[str, Object]:
        """The conditions by type, as far as they are there."""
        resource = self.sandbox.find(RESOURCE, "mx") or {}
        return {each["type"]: each for each in resource.get("status", {}).get("conditions", ())}

    def _tell(self, condition: Object, said: dict[str, tuple[str, str]]) -> None:
        now = (condition["status"], condition["reason"])
        if said.get(condition["type"]) == now:
            return
        said[condition["type"]] = now
        color = {"True": "green", "False": "red"}.get(condition["status"], "yellow")
        self.say(f"[{color}]{condition['type']:<10}{condition['reason']}[/{color}]  {condition['message']}")

    def stored(self) -> str:
        """Fingerprint of the leaf in the Secret."""
        chain = x509.load_pem_x509_certificates(self.sandbox.secret("mx")["tls.crt"])
        return sha256(chain[0].public_bytes(Encoding.DER)).hexdigest()

    def show_table(self, server: MailServer) -> None:
        """Ask every port of every pod again, by a client that is not the operator's."""
        self.title("What a mail client sees (Python's smtplib, not the operator)")
        table, stored, right = Table("pod", "port", "served (SHA-256)", "expires", "TLS", "as stored"), self.stored(), 0
        targets = self.stage.targets(server)
        for target in targets:
            served = look(target)
            is_right = served.sha256 == stored
            right += is_right
            mark = "[green]yes[/green]" if is_right else "[red]NO[/red]"
            expires = f"{served.expires:%Y-%m-%d %H:%M}"
            table.add_row(target.pod, str(target.port), f"{served.sha256[:16]}…", expires, served.tls_version, mark)
        screen.print(table)
        wanted = len(targets)
        if right != wanted:
            raise Trouble(f"only {right} of {wanted} endpoints serve the Secret's certificate")
        self.say(f"the Secret holds {stored[:16]}…: {right} of {wanted} endpoints serve it")

    def renew_under_traffic(self, server: MailServer) -> None:
        """Renew now, while a client connects ten times a second."""
        self.title("kubectl annotate mst mx mailtls.dev/renew=now, while a client connects ten times a second")
        before = self.stored()
        with Stream(self.stage.targets(server)) as stream:
            time.sleep(1)
            self.sandbox.patch(RESOURCE, "mx", {"metadata": {"annotations": {"mailtls.dev/renew": "now"}}})
            self._until_new(before)
            time.sleep(1)
        if stream.failures:
            raise Trouble(f"{len(stream.failures)} handshakes failed, the first: {stream.failures[0]}")
        self.say(f"{stream.handshakes} handshakes, none failed; {len(stream.seen)} certificates seen, old and new")
        self.show_table(server)

    def turn_a_bad_one_down(self, server: MailServer) -> None:
        """Have the CA hand out a chain to a root that nobody trusts, and see the certificate go back by itself."""
        self.title("Now the renewed certificate leads to a root that no client trusts, while that client goes on")
        good = self.stored()
        bad: Object = {"spec": {"acme": {"preferredChain": self.stage.other_root}}}
        bad["metadata"] = {"annotations": {"mailtls.dev/renew": "bad"}}
        with Stream(self.stage.targets(server)) as stream:
            self.sandbox.patch(RESOURCE, "mx", bad)
            self.follow("RolledOut", lambda said: said["reason"] == "RolledBack" and _is_everywhere(said))
            time.sleep(1)
        canary = {pod for sha256, pods in stream.seen.items() if sha256 != good for pod in pods}
        if stream.failures or len(canary) > 1 or self.stored() != good:
            raise Trouble(f"the bad certificate did not go back as it should; see {self.look_around()}")
        times = sum(len(pods) for sha256, pods in stream.seen.items() if sha256 != good)
        self.say(
            f"{stream.handshakes} handshakes, none failed; {times} of them met the bad certificate, at one pod at "
            f"most, before the one that is good was back"
        )
        self.sandbox.patch(RESOURCE, "mx", {"spec": {"acme": None}})
        self.follow("Ready", lambda ready: ready["status"] == "True")

    def _until_new(self, before: str) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            status: dict[str, Any] = self.sandbox.get(RESOURCE, "mx").get("status", {})
            stored = status.get("certificate", {}).get("fingerprintSHA256")
            served = {each.get("servedFingerprintSHA256") for each in status.get("endpoints", ())}
            if stored != before and served == {stored}:
                return
            time.sleep(0.1)
        raise Trouble(f"the renewal did not reach every pod within a minute; see {self.look_around()}")

    def break_the_mount(self, server: MailServer) -> None:
        """Take the Secret's volume away from the workload and ask for a check."""
        self.title("Now somebody removes the Secret's volume from the StatefulSet")
        broken = self.stage.mail_server(secret=None)
        self.sandbox.delete("statefulsets.apps", server.name)
        self.sandbox.wait_for("pods", f"{server.name}-0", lambda pod: pod is None)
        self.sandbox.apply(broken.workload())
        self.stage.await_ready(broken)
        self.sandbox.patch(RESOURCE, "mx", {"metadata": {"annotations": {"mailtls.dev/probe": "now"}}})
        ready = self.follow("Ready", lambda ready: ready["reason"] == "SecretNotMounted")
        self.say(f"the reason is [bold]{ready['reason']}[/bold], and the message says what to do")

    def look_around(self) -> str:
        """A command that shows more."""
        return self.stage.kubectl(f"describe mst mx -n {self.sandbox.name}")


def _is_everywhere(rolled_out: Object) -> bool:
    return _EVERYWHERE in rolled_out["message"]
