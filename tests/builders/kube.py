"""A fake API server behind `ports.Cluster` for workloads and pods, and builders of their JSON."""

from base64 import b64encode
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from mailtls.api.reading.document import Json
from mailtls.kube.interface import ApiError, Executed

Answer = Callable[[Sequence[str]], Executed]


@dataclass
class FakeCluster:
    """Answers from dictionaries and remembers requests; `refuse` maps a verb to what the API server says instead."""

    objects: dict[str, Json] = field(default_factory=dict)
    pods: list[Json] = field(default_factory=list)
    answer: Answer = lambda _: Executed(0, "", "")
    refuse: dict[str, Exception] = field(default_factory=dict)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)

    def _note(self, verb: str, path: str, detail: Any = None) -> None:
        self.requests.append((verb, path, detail))
        if verb in self.refuse:
            raise self.refuse[verb]

    def get(self, path: str) -> Json | None:
        """Return the object."""
        self._note("get", path)
        return deepcopy(self.objects.get(path))

    def list(self, path: str, *, label_selector: str = "") -> list[Json]:
        """Return all pods, whatever the selector."""
        self._note("list", path, label_selector)
        return deepcopy(self.pods)

    def merge(self, path: str, body: Json) -> Json:
        """Remember the patch."""
        self._note("merge", path, body)
        return body

    def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], timeout: float) -> Executed:
        """Run the command by `answer`."""
        assert timeout > 0
        self._note("execute", f"{namespace}/{pod}/{container}", tuple(command))
        return self.answer(command)

    def create(self, path: str, body: Json) -> Json:
        """Refuse: rollouts create nothing."""
        raise ApiError(405, "MethodNotAllowed", f"create {path} {body}")

    def replace(self, path: str, body: Json) -> Json:
        """Refuse: rollouts replace nothing."""
        raise ApiError(405, "MethodNotAllowed", f"replace {path} {body}")

    def apply(self, path: str, body: Json) -> Json:
        """Refuse: rollouts apply nothing."""
        raise ApiError(405, "MethodNotAllowed", f"apply {path} {body}")

    def delete(self, path: str, *, uid: str | None = None) -> None:
        """Refuse: rollouts delete nothing."""
        raise ApiError(405, "MethodNotAllowed", f"delete {path} {uid}")

    def verbs(self) -> tuple[str, ...]:
        """Return the verbs of all requests in order."""
        return tuple(verb for verb, _, _ in self.requests)


def pod_spec(*, volume: Json | None = None, mount: Json | None = None, name: str = "postfix", **more: Any) -> Json:
    """Make a pod's spec with one container that mounts the Secret `mx-tls` as the API server writes it."""
    return {
        "volumes": [
            {"name": "queue", "emptyDir": {}},
            {"name": "tls", **(volume or {"secret": {"secretName": "mx-tls", "defaultMode": 420}})},
        ],
        "containers": [
            {
                "name": name,
                "image": "localhost/postfix:1",
                "volumeMounts": [
                    {"name": "queue", "mountPath": "/var/spool/postfix"},
                    {"name": "tls", "mountPath": "/etc/tls", "readOnly": True, **(mount or {})},
                ],
            }
        ],
        **more,
    }


def pod(
    name: str,
    *,
    owner: tuple[str, str, str] = ("StatefulSet", "postfix", "uid-of-postfix"),
    spec: Json | None = None,
    phase: str = "Running",
    ready: str = "True",
    **metadata: Any,
) -> Json:
    """Make a pod as the API server returns it; `owner` is kind, name and uid of its controller."""
    kind, owner_name, uid = owner
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-of-{name}",
            "ownerReferences": [{"kind": kind, "name": owner_name, "uid": uid, "controller": True}],
            **metadata,
        },
        "spec": spec or pod_spec(),
        "status": {
            "phase": phase,
            "podIP": "198.18.1.7",
            "podIPs": [{"ip": "198.18.1.7"}, {"ip": "fd00::7"}],
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-05-01T11:00:00Z"},
                {"type": "Ready", "status": ready, "lastTransitionTime": "2026-05-01T11:00:05Z"},
            ],
        },
    }


def workload(
    *, spec: Json | None = None, status: Json | None = None, template: Json | None = None, **more: Any
) -> Json:
    """Make a workload as the API server returns it; `template` is the metadata of its pod template."""
    return {
        "metadata": {"name": "postfix", "uid": "uid-of-postfix", "generation": 3},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "postfix"}},
            "template": {"metadata": template or {"labels": {"app": "postfix"}}, "spec": spec or pod_spec()},
            **more,
        },
        "status": status or {},
    }


def basic_auth(kind: str = "kubernetes.io/basic-auth", **data: str) -> Json:
    """A Secret as the API server shows it."""
    encoded = {name: b64encode(value.encode()).decode() for name, value in data.items()}
    return {"metadata": {"name": "probe-user", "namespace": "mail"}, "type": kind, "data": encoded}
