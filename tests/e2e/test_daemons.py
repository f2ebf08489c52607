"""Postfix and Dovecot in the same pods, on the real cluster: in one container, in two, and reloaded by a signal."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from e2e.crashing import BEFORE, EFFECT, MOMENT
from e2e.served import served_fingerprint
from testbed.mailserver import PORTS, MailServer, keeping, self_signed
from testbed.sandbox import MAIL_SERVER_TLS, PATIENCE, condition_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e2e.installation import Installation

pytestmark = pytest.mark.cluster

DOVECOT = """
dovecot_config_version = 2.4.1
dovecot_storage_version = 2.4.1
log_path = /dev/stderr
protocols = imap
listen = *
ssl = required
ssl_server_cert_file = /etc/mail-tls/tls.crt
ssl_server_key_file = /etc/mail-tls/tls.key
mail_driver = maildir
mail_path = /tmp/none
passdb static {
  password = none
}
"""
TOGETHER = keeping("dovecot -F & exec postfix-start")
ALONE = ("dovecot", "-F")
IMAPS = [{"port": 993, "protocol": "imap", "tlsMode": "Implicit"}]
POSTFIX = {"container": "postfix", "preset": "postfix"}
BY_POSTFIX, BY_DOVECOT = "reload -- version", "SIGHUP received"


class Mail:
    """A StatefulSet of two pods with both servers, and the resource for it."""

    def __init__(self, installation: Installation, **pod: Any) -> None:
        self.installation = installation
        self.sandbox = installation.sandbox
        self.pod = pod

    def deploy(self, *containers: tuple[str, Sequence[str] | None, int]) -> None:
        """Run these containers of the same image in each pod: name, command (None: Postfix alone) and ready port."""
        host = self.installation.zone.host("mx")
        server = MailServer(self.sandbox, host, name="mail", keeps=True)
        manifest = server.workload()
        pod: dict[str, Any] = manifest["spec"]["template"]["spec"]
        (plain,) = pod["containers"]
        pod["containers"] = [_container(plain, *each) for each in containers]
        pod["volumes"] += [{"name": "dovecot", "configMap": {"name": "dovecot"}}]
        pod |= self.pod
        data = {"data": {"dovecot.conf": DOVECOT}}
        self.sandbox.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dovecot"}, **data})
        self.sandbox.put_placeholder("mx-tls", self_signed([host]))
        self.sandbox.apply(manifest)
        server.wait_until_ready()

    def apply(self, *daemons: dict[str, Any]) -> None:
        """Apply the resource; what fails stays as it is, so that it can be looked at."""
        workload = {"kind": "StatefulSet", "name": "mail", "daemons": list(daemons)}
        self.installation.apply(workloads=[workload], rollout={"onFailure": "Hold"})

    def log(self, pod: str) -> list[str]:
        """What all containers of a pod wrote, in the order of time."""
        found = self.sandbox.cluster.kubectl(
            "logs", "-n", self.sandbox.name, pod, "--all-containers", "--timestamps", "--tail=-1"
        )
        return [line.partition(" ")[2] for line in sorted(found.splitlines())]

    def reloads(self, pod: str) -> list[str]:
        """Which server was reloaded, in the order of time."""
        return [word for line in self.log(pod) for word in (BY_POSTFIX, BY_DOVECOT) if word in line]

    def address(self, pod: str) -> str:
        """Where a pod is."""
        return str(self.sandbox.get("pods", pod)["status"]["podIP"])

    def runs(self) -> list[str]:
        """The runtime's names of all containers that run."""
        pods = self.sandbox.objects("pods", "app=mail")
        return sorted(str(each["containerID"]) for pod in pods for each in pod["status"]["containerStatuses"])

    def served(self) -> dict[tuple[str, int], str]:
        """By pod and port, what the last probe saw."""
        endpoints = self.installation.get()["status"]["endpoints"]
        return {(each["pod"], each["port"]): each["servedFingerprintSHA256"] for each in endpoints}

    def failing(self, words: str) -> str:
        """Wait until the rollout stands still with a message that has these words; gives it."""

        def has_failed(seen: Any) -> bool:
            found = condition_of(seen, "RolledOut")
            return found is not None and found["reason"] == "ReloadFailed" and words in found["message"]

        seen = self.sandbox.wait_for(MAIL_SERVER_TLS, "mx", has_failed)
        found = condition_of(seen, "RolledOut")
        assert found is not None
        return str(found["message"])


def _container(plain: dict[str, Any], name: str, command: Sequence[str] | None, port: int) -> dict[str, Any]:
    mounts = [*plain["volumeMounts"], {"name": "dovecot", "mountPath": "/etc/dovecot"}]
    probe = {**plain["readinessProbe"], "tcpSocket": {"port": port}}
    made = {**plain, "name": name, "ports": [], "volumeMounts": mounts, "readinessProbe": probe}
    return made | ({"command": list(command)} if command else {})


def _renewed(mail: Mail, *daemons: dict[str, Any]) -> None:
    """A renewal reaches every port of both pods, Postfix before Dovecot, once each, and nothing is restarted."""
    mail.apply(*daemons)
    mail.installation.start()
    mail.installation.await_ready()
    before, runs = {pod: len(mail.reloads(pod)) for pod in ("mail-0", "mail-1")}, mail.runs()
    mail.installation.renew("again")
    mail.installation.await_renewed("again")
    wanted = mail.installation.fingerprint()
    assert mail.served() == {(pod, port): wanted for pod in before for port in (25, 465, 587, 993)}
    for pod, count in before.items():
        assert mail.reloads(pod)[count:] == [BY_POSTFIX, BY_DOVECOT]
    assert mail.runs() == runs


def test_both_daemons_of_one_container_are_renewed_in_order(installation: Installation) -> None:
    """As in docker-mailserver: one container, the commands of both presets."""
    mail = Mail(installation)
    mail.deploy(("postfix", TOGETHER, 993))
    _renewed(mail, POSTFIX, {"container": "postfix", "preset": "dovecot", "ports": IMAPS})


def test_both_daemons_of_two_containers_are_renewed_in_order_the_second_by_a_signal(installation: Installation) -> None:
    """Postfix' container sends it to Dovecot's, whose processes it sees."""
    mail = Mail(installation, shareProcessNamespace=True)
    mail.deploy(("postfix", None, 25), ("imap", ALONE, 993))
    by_signal = {"container": "postfix", "preset": "dovecot", "signal": "HUP", "process": "dovecot", "ports": IMAPS}
    _renewed(mail, POSTFIX, by_signal)


def test_operator_killed_between_two_daemons_of_a_pod_leaves_the_second_to_the_next_one(
    installation: Installation,
) -> None:
    """Whatever stands between them: each server of each pod is reloaded once, in order, and nothing is restarted."""
    mail = Mail(installation)
    mail.deploy(("postfix", None, 25), ("imap", ALONE, 993))
    mail.apply(POSTFIX, {"container": "imap", "preset": "dovecot", "ports": IMAPS})
    installation.start()
    installation.await_ready()
    old, runs = installation.fingerprint(), mail.runs()
    before = {pod: len(mail.reloads(pod)) for pod in ("mail-0", "mail-1")}
    installation.replica().kill()
    doomed = installation.replica().start(module="e2e.crashing", **{EFFECT: "second-reload", MOMENT: BEFORE})
    installation.renew("over a kill")
    assert doomed.wait(PATIENCE) == -signal.SIGKILL, doomed.text()
    new = installation.fingerprint()
    addresses = {pod: mail.address(pod) for pod in before}
    await_served(installation, addresses["mail-0"], new)
    assert served_by(installation, addresses["mail-0"], 993) == served_by(installation, addresses["mail-1"], 993) == old
    assert {pod: mail.reloads(pod)[count:] for pod, count in before.items()} == {"mail-0": [BY_POSTFIX], "mail-1": []}
    installation.start()
    installation.await_renewed("over a kill")
    assert set(mail.served().values()) == {new}
    for pod, count in before.items():
        assert mail.reloads(pod)[count:] == [BY_POSTFIX, BY_DOVECOT]
    assert mail.runs() == runs


def served_by(installation: Installation, address: str, port: int) -> str:
    """The certificate that a client gets."""
    return served_fingerprint(address, port, installation.zone.host("mx"), installation.pebble.root())


def await_served(installation: Installation, address: str, wanted: str) -> None:
    """Wait until all ports of Postfix have turned to the certificate: processes that it has go on for a while."""
    deadline = time.monotonic() + PATIENCE
    while {served_by(installation, address, port) for port in PORTS.values()} != {wanted}:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_second_daemon_that_fails_is_named_and_only_it_is_reloaded_again(installation: Installation) -> None:
    """The other pod is untouched: first by a command that fails, then by a signal that cannot reach its process."""
    mail = Mail(installation)
    mail.deploy(("postfix", None, 25), ("imap", ALONE, 993))
    dovecot = {"container": "imap", "preset": "dovecot", "ports": IMAPS}
    mail.apply(POSTFIX, dovecot)
    installation.start()
    installation.await_ready()
    old, before = installation.fingerprint(), {pod: len(mail.reloads(pod)) for pod in ("mail-0", "mail-1")}
    mail.apply(POSTFIX, dovecot | {"command": ["sh", "-c", "echo no master here >&2; exit 75"]})
    installation.renew("again")
    said = mail.failing("no master here")
    assert "of dovecot in container imap of pod mail-0 ended with exit code 75: no master here" in said
    new = installation.fingerprint()
    assert new != old
    first = {("mail-0", port): new for port in (25, 465, 587)} | {("mail-0", 993): old}
    assert mail.served() == first | {("mail-1", port): old for port in (25, 465, 587, 993)}
    mail.apply(POSTFIX, dovecot | {"container": "postfix", "signal": "HUP", "process": "dovecot"})
    said = mail.failing("SIGHUP to dovecot from container postfix of pod mail-0 was not sent")
    assert "set shareProcessNamespace: true in the pod template" in said
    mail.apply(POSTFIX, dovecot)
    installation.await_ready()
    assert set(mail.served().values()) == {new}
    assert mail.reloads("mail-0")[before["mail-0"] :] == [BY_POSTFIX, BY_DOVECOT]
    assert mail.reloads("mail-1")[before["mail-1"] :] == [BY_POSTFIX, BY_DOVECOT]
