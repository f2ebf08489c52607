"""Workloads, pods and Secrets as the API server writes them."""

from base64 import b64encode
from typing import Any

from mailtls.api.reading.document import Json


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
