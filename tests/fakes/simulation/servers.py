"""Pods with mail servers: a kubelet shows them a changed Secret late, and they serve what they have loaded last."""

import copy
from base64 import b64decode
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding

from builders import kube
from fakes.simulation.api import ApiServer, Write
from fakes.simulation.plan import Places
from fakes.simulation.runtime import Runtime
from mailtls.api.reading.document import Json
from mailtls.api.resource import annotations_of
from mailtls.kube.interface import ApiError, Executed
from mailtls.pki.loading import certificates
from mailtls.probe.checks.verdict import judge
from mailtls.probe.facts import Facts, Fault, Phase, Session, Stop, Verification
from mailtls.probe.target import Depth, Endpoint, Expected, Target

KUBELET: Final = 60.0  # seconds until a pod sees a changed Secret that nobody has woken its kubelet for
WOKEN: Final = 1.0
STARTING: Final = 5.0
NODES: Final = 3
REVERTS_IN: Final = 2.0
CRASH_LOOP: Final = 10.0
PLACEHOLDER: Final = ""
UNTRUSTED: Final = Verification(19, 1, "self-signed certificate in certificate chain")


@dataclass
class Daemon:
    """One server in a pod; `loading` is what a reload that goes on brings, and when."""

    container: str
    port: int
    served: str = PLACEHOLDER
    loading: tuple[float, str] | None = None
    takes: float = 0.0  # seconds until a reload has its effect
    served_since: float = 0.0
    reloaded_at: float = float("-inf")

    def chain(self, now: float) -> str:
        """What it serves."""
        if self.loading is not None and now >= self.loading[0]:
            self.served_since = self.loading[0] if self.loading[1] != self.served else self.served_since
            self.served, self.loading = self.loading[1], None
        return self.served


@dataclass
class Server:
    """One pod with its servers. `files` are what the pod has seen of the Secret since when."""

    namespace: str
    name: str
    workload: str
    secret: str
    address: str
    daemons: tuple[Daemon, ...]
    files: list[tuple[float, str]] = field(default_factory=list)
    ready_at: float = 0.0
    away_until: float = 0.0  # its node is NotReady until then
    node: int = 0
    template: Json = field(default_factory=dict)  # the annotations that it was made with

    def file(self, now: float) -> str:
        """What the pod sees at the path of the certificate."""
        return next((content for since, content in reversed(self.files) if since <= now), "")

    def chains(self, now: float) -> set[str]:
        """What its servers serve."""
        return {each.chain(now) for each in self.daemons}

    def serves(self, chain: str, now: float) -> bool:
        """Whether all of them serve this."""
        return self.chains(now) == {chain}

    def has_served(self, chain: str, since: float, now: float) -> bool:
        """Whether one of them has served this since then."""
        return any(each.served_since < since and each.chain(now) == chain for each in self.daemons)

    def begin(self, content: str, now: float) -> None:
        """Have all servers start with what they find."""
        self.files = [(now, content)]
        for each in self.daemons:
            each.served, each.served_since, each.loading = content, now, None


class Servers:
    """All pods, the kubelets and the StatefulSet controller; `on_reload` is called ahead of each reload.

    Clients trust no certificate whose serial number is among `refused`.
    """

    def __init__(self, runtime: Runtime, api: ApiServer, refused: Collection[int] = ()) -> None:
        self.runtime, self.api, self.refused = runtime, api, refused
        self.by_pod: dict[tuple[str, str], Server] = {}
        self.replacing: set[tuple[str, str]] = set()
        self.kept: dict[tuple[str, str], Json] = {}  # annotations of templates that a GitOps tool keeps as they are
        self._addresses = 0
        api.audits.append(self._notice)
        api.run = self.execute
        self.reloads: list[tuple[float, str, str]] = []
        self.on_reload: Any = lambda _server, _daemon: None
        self._places: dict[tuple[str, str], Places] = {}

    def deploy(self, namespace: str, name: str, secret: str, replicas: int, places: Places | None = None) -> None:
        """Make a StatefulSet and its pods, with the servers that it had before where none are named."""
        places = places or self._places[namespace, name]
        self._places[namespace, name] = places
        spec = kube.pod_spec(volume={"secret": {"secretName": secret}})
        (container,) = spec["containers"]
        spec["containers"] = [container | {"name": each} for each in dict.fromkeys(where for where, _ in places)]
        body = kube.workload(spec=spec, template={"labels": {"app": name}}, replicas=replicas)
        body["metadata"] = {"name": name, "namespace": namespace}
        body["spec"]["selector"] = {"matchLabels": {"app": name}}
        self.api.put(_path(namespace, name), body)
        self.settle(namespace, name)
        for number in range(replicas):
            self.start(namespace, name, number, secret)
        self.settle(namespace, name)

    def start(self, namespace: str, workload: str, number: int, secret: str, after: float = 0.0) -> None:
        """Start a pod; its server loads what is in the Secret then."""
        self._addresses += 1
        name, now = f"{workload}-{number}", self.runtime.monotonic()
        daemons = tuple(Daemon(*place) for place in self._places[namespace, workload])
        address = f"198.51.{100 + self._addresses // 250}.{self._addresses % 250}"
        server = Server(namespace, name, workload, secret, address, daemons, ready_at=now + after)
        server.node = self._addresses % NODES
        server.begin(self._content(namespace, secret), now)
        self.by_pod[namespace, name] = server
        owner = self.api.objects[_path(namespace, workload)]
        template = copy.deepcopy(owner["spec"]["template"])
        pod = kube.pod(
            name,
            owner=("StatefulSet", workload, owner["metadata"]["uid"]),
            spec=template["spec"],
            labels={"app": workload},
            annotations=annotations_of(template),
        )
        server.template = dict(annotations_of(template))
        pod["spec"]["nodeName"] = f"node-{server.node}"
        self._dress(pod, server)
        self.api.put(f"/api/v1/namespaces/{namespace}/pods/{name}", pod)
        if after:
            self.runtime.spawn(lambda: self._become_ready(server, after), f"starts {name}", "kubelet")

    def kill(self, namespace: str, name: str) -> None:
        """Kill a pod; its controller makes it anew, and its server loads the file at its start."""
        server = self.by_pod.get((namespace, name))
        if server is None:
            return
        self.api.remove(f"/api/v1/namespaces/{namespace}/pods/{name}")

    def scale(self, namespace: str, name: str, by: int) -> None:
        """Add pods, or take some away, and keep one at least."""
        path = _path(namespace, name)
        if path not in self.api.objects:
            return
        before = self.api.objects[path]["spec"]["replicas"]
        after = max(1, min(4, before + by))
        self.api.edit(path, lambda body: body["spec"].update(replicas=after))
        own = self._own(namespace, name)
        for number in range(before, after):
            if (namespace, f"{name}-{number}") not in self.by_pod:
                self.start(namespace, name, number, own[0].secret if own else f"{name}-tls", STARTING)
        for number in range(after, before):
            self.kill(namespace, f"{name}-{number}")
        self.settle(namespace, name)

    def settle(self, namespace: str, name: str) -> None:
        """Write the workload's status, as its controller does."""
        path = _path(namespace, name)
        if path not in self.api.objects:
            return
        own = self._own(namespace, name)
        ready = sum(self.is_ready(each) for each in own)

        def change(body: Json) -> None:
            current = "old" if (namespace, name) in self.replacing else "new"
            body["status"] = {
                "observedGeneration": body["metadata"]["generation"],
                "replicas": len(own),
                "readyReplicas": ready,
                "updateRevision": "new",
                "currentRevision": current,
            }

        self.api.edit(path, change)

    def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], timeout: float) -> Executed:
        """Run `cat` or the reload command."""
        server = self.by_pod.get((namespace, pod))
        if server is not None and self.runtime.monotonic() < server.away_until:
            raise ApiError(500, "InternalError", "error dialing backend: no route to host")
        if server is None or not self.is_ready(server):
            raise ApiError(404, "NotFound", f"pods {pod} not found")
        assert container in {each.container for each in server.daemons}
        assert timeout > 0
        now = self.runtime.monotonic()
        if command[0] == "cat":
            return Executed(0, server.file(now), "")
        daemon = next((each for each in server.daemons if command[-1] == str(each.port)), server.daemons[0])
        assert daemon.container == container
        self.on_reload(server, daemon)
        self.reloads.append((now, namespace, pod))
        daemon.loading = (now + daemon.takes, server.file(now))
        daemon.chain(now)
        return Executed(0, "", "")

    # the prober

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Answer for each target by what its server serves now."""
        return [self._endpoint(each, expected) for each in targets]

    def examine(self, targets: Iterable[Target], expected: Expected) -> Sequence[tuple[Endpoint, Facts]]:
        """Answer with the facts too."""
        return [(self._endpoint(each, expected), self._facts(each)) for each in targets]

    def _endpoint(self, target: Target, expected: Expected) -> Endpoint:
        return judge(target, expected, self._facts(target), self.runtime.now())

    def _facts(self, target: Target) -> Facts:
        server = next((each for each in self.by_pod.values() if each.address == target.address), None)
        if server is None or not self.is_ready(server):
            return Facts(stop=Stop(Phase.CONNECT, Fault.REFUSED))
        daemon = next(each for each in server.daemons if each.port == target.port.port)
        try:
            served = certificates(daemon.chain(self.runtime.monotonic()).encode())
        except ValueError:
            return Facts(stop=Stop(Phase.HANDSHAKE, Fault.CLOSED))  # it has nothing to serve
        ders = tuple(each.public_bytes(Encoding.DER) for each in served)
        word = UNTRUSTED if served[0].serial_number in self.refused else Verification()
        return Facts(session=Session(ders, "TLSv1.3", "TLS_AES_256_GCM_SHA384", word))

    # what the cluster does by itself

    def _notice(self, write: Write) -> None:
        kind = write.path.split("/")[-2]
        if kind == "secrets":
            self._spread(write)
        elif kind == "pods" and write.after is None:
            self._remake(write)
        elif kind == "pods" and write.before is not None and write.after is not None:
            before, after = (each["metadata"].get("annotations") for each in (write.before, write.after))
            if before != after:
                self._wake(write.after)
        elif kind == "statefulsets" and write.before is not None and write.after is not None:
            before, after = (each["spec"]["template"]["metadata"] for each in (write.before, write.after))
            if before != after:
                self._roll(write.after)

    def _spread(self, write: Write) -> None:
        if write.after is None:
            return  # kubelets keep what they have
        meta, now = write.after["metadata"], self.runtime.monotonic()
        content = _certificate(write.after)
        for server in self.by_pod.values():
            if (server.namespace, server.secret) == (meta["namespace"], meta["name"]):
                server.files = [each for each in server.files if each[0] <= now] + [(now + KUBELET, content)]

    def _wake(self, pod: Json) -> None:
        meta, now = pod["metadata"], self.runtime.monotonic()
        server = self.by_pod.get((meta["namespace"], meta["name"]))
        if server is not None:
            content = self._content(server.namespace, server.secret)
            server.files = [each for each in server.files if each[0] <= now] + [(now + WOKEN, content)]

    def _remake(self, write: Write) -> None:
        meta = (write.before or {})["metadata"]
        server = self.by_pod.pop((meta["namespace"], meta["name"]))
        path = _path(server.namespace, server.workload)
        number = int(server.name.rsplit("-", 1)[1])
        if path in self.api.objects and number < self.api.objects[path]["spec"]["replicas"]:
            self.start(server.namespace, server.workload, number, server.secret, STARTING)
        if path in self.api.objects:
            self.settle(server.namespace, server.workload)

    def _roll(self, workload: Json) -> None:
        group = workload["metadata"]["namespace"], workload["metadata"]["name"]
        if group not in self.replacing:
            self.replacing.add(group)
            self.runtime.spawn(lambda: self._replace_all(group), f"rolls {group[1]}", "kube")
        if self.kept.get(group, annotations_of(workload["spec"]["template"])) != annotations_of(
            workload["spec"]["template"]
        ):
            self.runtime.spawn(lambda: self._revert(group), f"reverts {group[1]}", "argocd")

    def _replace_all(self, group: tuple[str, str]) -> None:
        """Replace the pods that were not made from the template as it is now, the last one first."""
        while outdated := [each for each in self._own(*group) if each.template != self._template(group)]:
            self.kill(group[0], outdated[-1].name)
            self.runtime.sleep(STARTING + 1)
        self.replacing.discard(group)
        self.settle(*group)

    def _template(self, group: tuple[str, str]) -> Json:
        found = self.api.objects.get(_path(*group))
        return dict(annotations_of(found["spec"]["template"])) if found is not None else {}

    def _revert(self, group: tuple[str, str]) -> None:
        self.runtime.sleep(REVERTS_IN)
        if group in self.kept and _path(*group) in self.api.objects:
            self.annotate(group, self.kept[group])

    def annotate(self, group: tuple[str, str], annotations: Json) -> None:
        """Write the annotations of a workload's template."""
        self.api.edit(
            _path(*group), lambda body: body["spec"]["template"]["metadata"].update(annotations=dict(annotations))
        )

    def keep(self, namespace: str, name: str) -> None:
        """Have a GitOps tool keep the template as it is from now on."""
        if _path(namespace, name) in self.api.objects:
            self.kept[namespace, name] = self._template((namespace, name))

    def lose_node(self, node: int, seconds: float) -> None:
        """Let a node be NotReady for so long, and the pods on it; their servers go on."""
        lost = [each for each in self.by_pod.values() if each.node == node]
        for server in lost:
            server.away_until = self.runtime.monotonic() + seconds
            self._show(server)
        self.runtime.spawn(lambda: self._return(lost, seconds), f"loses node {node}", "kube")

    def _return(self, lost: Sequence[Server], seconds: float) -> None:
        self.runtime.sleep(seconds)
        for server in lost:
            self._show(server)

    def take_away(self, namespace: str, name: str, seconds: float) -> None:
        """Delete a workload, and make it again so much later."""
        own = self._own(namespace, name)
        if not own or _path(namespace, name) not in self.api.objects:
            return
        self.api.remove(_path(namespace, name))

        def make_again() -> None:
            self.runtime.sleep(seconds)
            self.deploy(namespace, name, own[0].secret, len(own))

        self.runtime.spawn(make_again, f"makes {name} again", "kube")

    def _own(self, namespace: str, name: str) -> list[Server]:
        return [each for each in self.by_pod.values() if (each.namespace, each.workload) == (namespace, name)]

    def _show(self, server: Server) -> None:
        """Have the pod's status show what is, and that of its workload."""
        if self.by_pod.get((server.namespace, server.name)) is not server:
            return
        self.api.edit(f"/api/v1/namespaces/{server.namespace}/pods/{server.name}", lambda pod: self._dress(pod, server))
        self.settle(server.namespace, server.workload)

    def _become_ready(self, server: Server, after: float) -> None:
        """Start the server; one that cannot read its file ends, and is started again."""
        self.runtime.sleep(after)
        while not _is_readable(self._content(server.namespace, server.secret)):
            server.ready_at = self.runtime.monotonic() + CRASH_LOOP
            self.runtime.sleep(CRASH_LOOP)
        if self.by_pod.get((server.namespace, server.name)) is not server:
            return
        server.begin(self._content(server.namespace, server.secret), self.runtime.monotonic())
        self._show(server)

    def _dress(self, pod: Json, server: Server) -> None:
        is_ready = self.is_ready(server)
        began = self.runtime.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        pod["status"]["podIPs"] = [{"ip": server.address}]
        pod["status"]["conditions"] = [{"type": "Ready", "status": str(is_ready), "lastTransitionTime": began}]
        runs = self.runtime.monotonic() >= server.ready_at
        state = {"running": {"startedAt": began}} if runs else {"waiting": {}}
        pod["status"]["containerStatuses"] = [
            {"name": name, "containerID": f"containerd://{server.address}/{name}", "state": state}
            for name in dict.fromkeys(each.container for each in server.daemons)
        ]

    def is_ready(self, server: Server) -> bool:
        """Whether its pod is ready."""
        return self.runtime.monotonic() >= max(server.ready_at, server.away_until)

    def _content(self, namespace: str, secret: str) -> str:
        found = self.api.objects.get(f"/api/v1/namespaces/{namespace}/secrets/{secret}")
        return _certificate(found) if found else ""


def _path(namespace: str, name: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}"


def _is_readable(pem: str) -> bool:
    """Whether a server starts with the file; without one it starts, and offers no TLS."""
    try:
        return not pem or bool(certificates(pem.encode()))
    except ValueError:
        return False


def _certificate(secret: Json) -> str:
    return b64decode((secret.get("data") or {}).get("tls.crt", "")).decode()
