"""What a run of a simulation is made of: resources, faults, and when what happens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fakes.simulation.authority import DIRECTORY
from mailtls.api.reading.document import Json
from mailtls.api.spec import Key

if TYPE_CHECKING:
    from fakes.simulation.world import World

GROUP: Final = "/apis/mailtls.dev/v1alpha1"
Places = tuple[tuple[str, int], ...]  # container and port of each daemon of a pod
ALONE: Final[Places] = (("postfix", 465),)


@dataclass(frozen=True)
class Fault:
    """What goes wrong at the next request that it can happen to, or at all; `where` is a part of the request's path."""

    channel: str  # api, exec, ca, watch
    kind: str
    where: str = ""
    lasts: bool = False


@dataclass(frozen=True)
class Disturbance:
    """What happens when so many steps have been made since the one before."""

    after: int
    act: Callable[["World"], object]
    name: str

    def __repr__(self) -> str:
        return f"{self.after}: {self.name}"


@dataclass(frozen=True)
class Wanted:
    """A resource that a user makes, with its workloads.

    `daemons` are those of the pods of a workload, where they are several; `is_external`: others write the Secret.
    """

    namespace: str
    name: str
    workloads: tuple[tuple[str, int, str], ...]  # name, replicas, updateStrategy
    by_dns: bool = False
    email: str = "postmaster@example.test"
    has_placeholder: bool = False
    daemons: tuple[tuple[str, Places], ...] = ()
    is_external: bool = False
    settle_time: str = ""

    @property
    def key(self) -> Key:
        """What the operator calls it."""
        return Key(self.namespace, self.name)

    @property
    def path(self) -> str:
        """Where it stands in the API."""
        return f"{GROUP}/namespaces/{self.namespace}/mailservertls/{self.name}"

    @property
    def secret_path(self) -> str:
        """Where its Secret stands."""
        return f"/api/v1/namespaces/{self.namespace}/secrets/{self.name}-tls"

    def names(self, extra: str = "") -> list[str]:
        """The host names of its certificate."""
        host = f"{self.name}.{self.namespace}.test"
        return [host, f"{extra}.{host}"] if extra else [host]

    def daemons_of(self, workload: str) -> Places:
        """Where the servers of each pod of a workload are, in the order in which they are reloaded."""
        return dict(self.daemons).get(workload, ALONE)

    def body(self) -> Json:
        """What the user applies."""
        workloads = [self._workload(name, strategy) for name, _, strategy in self.workloads]
        spec: Json = {"dnsNames": self.names(), "secretName": f"{self.name}-tls", "workloads": workloads}
        if self.is_external:
            spec["external"] = {}
        else:
            solver: Json = {"dns01": {"simulated": {}}} if self.by_dns else {"http01": {}}
            spec["acme"] = {"server": DIRECTORY, "email": self.email, "solvers": [solver]}
            spec["renewal"] = {"ari": False}
        if self.has_placeholder:
            spec["bootstrap"] = "SelfSigned"
        meta = {"name": self.name, "namespace": self.namespace}
        return {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS", "metadata": meta, "spec": spec}

    def _workload(self, name: str, strategy: str) -> Json:
        made: Json = {"kind": "StatefulSet", "name": name, "updateStrategy": strategy}
        if self.settle_time:
            made["settleTime"] = self.settle_time
        places = self.daemons_of(name)
        if places is ALONE:
            return made | {"ports": [_port(465)]}
        return made | {"daemons": [_daemon(*place, strategy) for place in places]}


def _daemon(container: str, port: int, strategy: str) -> Json:
    made = {"name": f"{container}-{port}", "container": container, "preset": "generic", "ports": [_port(port)]}
    return made | ({"command": ["reload", str(port)]} if strategy == "Reload" else {})


def _port(number: int) -> Json:
    return {"port": number, "tlsMode": "Implicit"}
