"""What is kept of each kind of object; what is not named here never reaches a bundle."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from mailtls.api.reading.document import Json
from mailtls.api.resource import GROUP, annotations_of
from mailtls.kube.ownership import source_of
from mailtls.kube.pairs import certificate_of
from mailtls.kube.workload import children

CERTIFICATES: Final = frozenset({"tls.crt", "ca.crt"})
"""The entries of a Secret that hold no secret."""
_METADATA: Final = (
    "name",
    "namespace",
    "uid",
    "generation",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
)
_KNOWN_LABELS: Final = (
    "app.kubernetes.io/",
    "pod-template-hash",
    "controller-revision-hash",
    f"{GROUP}/",
    "helm.sh/chart",
)
_OUR_VARIABLES: Final = "MAILTLS_"
_CONDITION: Final = ("type", "status", "reason", "message", "lastTransitionTime", "observedGeneration")


def kept(found: Json, *names: str) -> Json:
    """Return these fields, as far as they are there."""
    return {name: found[name] for name in names if found.get(name) is not None}


def metadata(found: Json) -> Json:
    """Keep names and versions; of annotations and labels only ours and well-known ones, of the others the names."""
    meta = found.get("metadata") or {}
    notes, labels = annotations_of(found), meta.get("labels") or {}
    owners = [kept(each, "kind", "name", "uid") for each in children(meta, "ownerReferences")]
    listed = {
        "labels": {name: value for name, value in labels.items() if name.startswith(_KNOWN_LABELS)},
        "annotations": {name: value for name, value in notes.items() if name.startswith(f"{GROUP}/")},
        "otherAnnotations": sorted(name for name in notes if not name.startswith(f"{GROUP}/")),
        "finalizers": meta.get("finalizers"),
        "ownerReferences": owners,
        "managers": sorted({str(each.get("manager")) for each in children(meta, "managedFields")}),
    }
    return kept(meta, *_METADATA) | {name: value for name, value in listed.items() if value}


def resource(found: Json) -> Json:
    """Keep a MailServerTLS whole, but for foreign annotations."""
    return kept(found, "apiVersion", "kind") | {"metadata": metadata(found)} | kept(found, "spec", "status")


def secret(found: Json) -> Json:
    """Keep what a Secret is called and who keeps it, how large its entries are, and what its certificate says."""
    sizes = {name: len(str(value)) * 3 // 4 for name, value in sorted((found.get("data") or {}).items())}
    certificate = certificate_of(found)
    made: Json = {"metadata": metadata(found), "type": found.get("type"), "bytesOfEntries": sizes}
    made |= kept(found, "immutable") | {"keptBy": source_of(found).words}
    if certificate is None:
        return made
    facts = {
        "names": sorted(certificate.names),
        "serialNumber": certificate.serial_number,
        "sha256": certificate.sha256,
        "spkiSha256": certificate.spki_sha256,
        "issuer": certificate.issuer,
        "notBefore": certificate.not_before.isoformat(),
        "notAfter": certificate.not_after.isoformat(),
        "certificatesInChain": certificate.chain_pem.count("BEGIN CERTIFICATE"),
    }
    return made | {"certificate": facts}


def secret_values(found: Json) -> Iterable[str]:
    """Return the entries of a Secret that may be secret, as they are written: in base64."""
    return [str(value) for name, value in (found.get("data") or {}).items() if name not in CERTIFICATES]


def workload(found: Json) -> Json:
    """Keep how many pods there should be and are, how they are replaced, and what the template mounts."""
    spec, template = found.get("spec") or {}, (found.get("spec") or {}).get("template") or {}
    numbers = kept(spec, "replicas", "minReadySeconds", "paused", "updateStrategy", "strategy", "podManagementPolicy")
    return {
        "kind": found.get("kind"),
        "metadata": metadata(found),
        "spec": numbers | {"template": {"metadata": metadata(template), "spec": pod_spec(template.get("spec") or {})}},
        "status": {name: value for name, value in (found.get("status") or {}).items() if name != "conditions"}
        | {"conditions": _conditions(found)},
    }


def pod(found: Json) -> Json:
    """Keep where a pod is, how its containers are, and what they mount."""
    status = found.get("status") or {}
    containers = (*children(status, "initContainerStatuses"), *children(status, "containerStatuses"))
    return {
        "metadata": metadata(found),
        "spec": kept(found.get("spec") or {}, "nodeName", "hostNetwork", "shareProcessNamespace")
        | pod_spec(found.get("spec") or {}),
        "status": kept(status, "phase", "reason", "message", "podIPs", "startTime", "qosClass")
        | {"conditions": _conditions(found), "containers": [_container_status(each) for each in containers]},
    }


def pod_spec(spec: Json) -> Json:
    """Keep images, ports and mounts: no command, argument or variable of a stranger's container."""
    volumes = [kept(each, "name") | {"kinds": _volume(each)} for each in children(spec, "volumes")]
    every = [*children(spec, "initContainers"), *children(spec, "containers")]
    return {"volumes": volumes, "containers": [_container(each) for each in every]}


def operator(found: Json) -> Json:
    """Keep a Deployment of the operator, with its arguments and settings."""
    spec = ((found.get("spec") or {}).get("template") or {}).get("spec") or {}
    settings = {
        each.get("name"): kept(each, "args") | {"env": _variables(each)} for each in children(spec, "containers")
    }
    return workload(found) | {"settings": settings, "serviceAccount": spec.get("serviceAccountName")}


def _variables(container: Json) -> list[Json]:
    """Give the values of our own settings; of others where they come from, or that they are set."""
    made = []
    for each in children(container, "env"):
        name = str(each.get("name"))
        shown = kept(each, "name", "value") if name.startswith(_OUR_VARIABLES) else {"name": name}
        source = {"from": each["valueFrom"]} if each.get("valueFrom") else {}
        made.append(shown | source)
    return made


def _volume(volume: Json) -> Json:
    """Say what a volume is made of; a Secret and a ConfigMap by their names."""
    names = ("secretName", "name", "claimName", "optional", "driver", "items", "defaultMode")
    made: Json = {}
    for kind, value in volume.items():
        if kind == "projected":
            made[kind] = [_volume(each) for each in children(value or {}, "sources")]
        elif isinstance(value, dict):
            made[kind] = kept(value, *names)
    return made


def _container(container: Json) -> Json:
    mounts = [kept(each, "name", "mountPath", "subPath", "readOnly") for each in children(container, "volumeMounts")]
    ports = [kept(each, "name", "containerPort", "protocol") for each in children(container, "ports")]
    return kept(container, "name", "image", "restartPolicy") | {"mounts": mounts, "ports": ports}


def _container_status(status: Json) -> Json:
    states = {name: _state(status.get(name) or {}) for name in ("state", "lastState")}
    return kept(status, "name", "image", "imageID", "ready", "started", "restartCount") | states


def _state(state: Mapping[str, Any]) -> Json:
    """Leave the last words of a container out: they are a piece of its log."""
    fields = ("reason", "exitCode", "signal", "startedAt", "finishedAt")
    return {name: kept(value or {}, *fields) for name, value in state.items()}


def _conditions(found: Json) -> list[Json]:
    return [kept(each, *_CONDITION) for each in children(found, "status", "conditions")]


def event(found: Json) -> Json:
    """Keep what happened to what, how often, and who says so."""
    about = kept(found.get("involvedObject") or {}, "kind", "namespace", "name", "fieldPath")
    times = kept(found, "firstTimestamp", "lastTimestamp", "eventTime", "count", "series")
    return kept(found, "type", "reason", "message") | times | {"about": about, "source": _reporter(found)}


def _reporter(found: Json) -> str:
    return str(found.get("reportingComponent") or (found.get("source") or {}).get("component") or "")


def when(found: Json) -> str:
    """Return when an event was last seen, for sorting."""
    times = (found.get("lastTimestamp"), found.get("eventTime"), (found.get("metadata") or {}).get("creationTimestamp"))
    return str(next(filter(None, times), ""))


def rights(found: Json) -> Json:
    """Keep a role or a binding of the operator."""
    return kept(found, "kind") | {"metadata": metadata(found)} | kept(found, "rules", "subjects", "roleRef")


def definition(found: Json) -> Json:
    """Keep which versions of the CRD there are, and whether the API server serves them."""
    versions = [kept(each, "name", "served", "storage", "deprecated") for each in children(found, "spec", "versions")]
    return {"metadata": metadata(found), "versions": versions, "conditions": _conditions(found)}
