"""The set-ups that presets are tested with, as pods: the programs of a tree, their settings, and a mounted Secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mailservers.certificates import HOST
from mailtls.api.presets import PRESETS
from testbed import gomail, trees
from testbed.images import PAUSE
from testbed.mailserver import MailServer, self_signed
from testbed.sandbox import MAIL_SERVER_TLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailservers.contained import Setup
    from testbed.api import Object
    from testbed.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class PresetPod:
    """A server in a StatefulSet, and the resource of its preset; both have the set-up's name."""

    sandbox: Sandbox
    host: str
    setup: Setup
    process: str = ""
    """Where its image has nothing but this program, of Go: a BusyBox beside sends it the signal."""

    @property
    def name(self) -> str:
        """The name of all that belongs to it."""
        return f"{self.setup}-bare" if self.process else str(self.setup)

    @property
    def secret(self) -> str:
        """The Secret's name."""
        return f"{self.name}-tls"

    @property
    def strategy(self) -> str:
        """What the preset needs."""
        if PRESETS[self.setup.software].reload:
            return "Reload"
        return "Restart" if self.setup.keeps else "None"

    def deploy(self) -> None:
        """Write a placeholder, the settings and the workload."""
        data = {_key(path): text.replace(HOST, self.host) for path, text in self.setup.files.items()}
        settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.name}, "data": data}
        self.sandbox.put_placeholder(self.secret, self_signed([self.host]))
        self.sandbox.apply(settings, self.workload())

    def server(self) -> MailServer:
        """Its workload, to wait for."""
        return MailServer(self.sandbox, self.host, name=self.name, secret=self.secret, replicas=1)

    def workload(self) -> Object:
        """The manifest: process 1 of the only container is what the set-up starts."""
        manifest = self.server().workload()
        pod: dict[str, Any] = manifest["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        container |= {"name": self.name, "command": [part.replace(HOST, self.host) for part in self.setup.command]}
        container["ports"] = []
        container["readinessProbe"]["tcpSocket"]["port"] = PRESETS[self.setup.software].ports[-1].port
        pod["volumes"][0]["secret"]["defaultMode"] = self.setup.mode
        pod["volumes"].append({"name": "settings", "configMap": {"name": self.name}})
        container["volumeMounts"] += [
            {"name": "settings", "mountPath": f"/{path}", "subPath": _key(path)} for path in self.setup.files
        ]
        if self.setup.needs_go:
            trees.mount_folder(pod, container, gomail.ensure(), "/opt")
        if self.process:
            _put_busybox_beside(pod, container)
        elif self.setup.tree != trees.MACHINE:  # else it is Postfix, in the image of its own that it has
            trees.run_from(self.setup.tree, pod, container)
        return manifest

    def resource(self) -> Object:
        """One line names the server, and another the strategy where the preset has no command."""
        workload: Object = {"kind": "StatefulSet", "name": self.name, "preset": str(self.setup.software)}
        workload |= {} if self.strategy == "Reload" else {"updateStrategy": self.strategy}
        by_signal = {"container": "tools", "signal": "USR2", "process": self.process}
        workload |= {"reload": by_signal} if self.process else {}
        spec = {"dnsNames": [self.host], "secretName": self.secret, "workloads": [workload]}
        metadata = {"name": self.name}
        return {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS", "metadata": metadata, "spec": spec}

    def runs(self) -> dict[str, list[tuple[str, int]]]:
        """Of each pod the containers, and how often each was started again."""
        return {pod["metadata"]["uid"]: containers_of(pod) for pod in self.server().pods()}

    def served(self) -> dict[int, str | None]:
        """By port, what the last probe saw in its pods."""
        endpoints: Sequence[Object] = self.sandbox.get(MAIL_SERVER_TLS, self.name)["status"]["endpoints"]
        return {each["port"]: each.get("servedFingerprintSHA256") for each in endpoints}


def _put_busybox_beside(pod: dict[str, Any], container: dict[str, Any]) -> None:
    mount = container["volumeMounts"][0]
    container["image"] = PAUSE  # without a shell, cat or timeout
    container["volumeMounts"].append({"name": "tmp", "mountPath": "/tmp"})
    pod["volumes"].append({"name": "tmp", "emptyDir": {}})
    pod["containers"].append(
        {"name": "tools", "image": trees.BUSYBOX, "command": ["sleep", "infinity"], "volumeMounts": [mount]}
    )
    pod["shareProcessNamespace"] = True


def _key(path: str) -> str:
    return path.replace("/", "_")


def containers_of(pod: Object) -> list[tuple[str, int]]:
    """A pod's containers by the runtime's names, and how often each was started again."""
    statuses = pod["status"]["containerStatuses"]
    return sorted((str(container["containerID"]), int(container["restartCount"])) for container in statuses)
