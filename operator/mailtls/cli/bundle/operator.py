"""What a bundle holds of the operator: Deployment, pods, logs, metrics, Lease, rights, events, versions."""

import platform
import re
from typing import Final

from mailtls import __version__
from mailtls.api.reading.document import Json
from mailtls.api.resource import GROUP, PLURAL
from mailtls.cli.bundle import shapes
from mailtls.cli.bundle.contents import Contents
from mailtls.cli.bundle.reading import Reader
from mailtls.kube.rights import LABELS
from mailtls.kube.workload import children

MOST_PODS: Final = 5
LOG_BYTES: Final = 2_000_000
LOG_LINES: Final = 5000
METRICS_BYTES: Final = 4_000_000
_MOST: Final = 100
_LABEL: Final = {"labelSelector": "app.kubernetes.io/name=mailtls"}
_AUTHORIZATION: Final = "/apis/rbac.authorization.k8s.io/v1"
_PORT: Final = "8080"
# Any tenant may label a Deployment as the operator's: what it says must not lead its reader to another path.
_NUMBER: Final = re.compile(r"[0-9]{1,5}")
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


def add_versions(reader: Reader, contents: Contents) -> None:
    """Add what runs where."""
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{PLURAL}.{GROUP}"
    crd = reader.object("the CRD", path)
    contents.add(
        "versions.json",
        {
            "mailtls": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "kubernetes": reader.object("the version of Kubernetes", "/version"),
            "definition": reader.shaped("the CRD", shapes.definition, crd) if crd else None,
        },
    )


def add_operator(reader: Reader, contents: Contents, places: tuple[str | None, ...]) -> None:
    """Look for the operator in these namespaces, in the order given (None: in all), and add what is found of it."""
    found = next(filter(None, (_deployments(reader, place) for place in places)), [])
    if not found:
        reader.note("the operator", "no Deployment of it was found")
    if len(found) > MOST_PODS:
        words = f"{len(found)} Deployments look like it, and {MOST_PODS} are in the bundle: give --operator-namespace"
        reader.note("the operator", words)
    for each in found[:MOST_PODS]:
        _add_one(reader, contents, each)


def _deployments(reader: Reader, namespace: str | None) -> list[Json]:
    where, words = (f"/namespaces/{namespace}", f"namespace {namespace}") if namespace else ("", "all namespaces")
    what = f"the operator's Deployment in {words}"
    return reader.some(what, f"/apis/apps/v1{where}/deployments", _MOST, {"labelSelector": LABELS})


def _add_one(reader: Reader, contents: Contents, deployment: Json) -> None:
    namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
    folder = f"operator/{namespace}/{name}"
    contents.public.update((namespace, name))
    contents.add(f"{folder}/deployment.json", reader.shaped(f"Deployment {name}", shapes.operator, deployment))
    port = _settings(deployment).get("MAILTLS_METRICS_PORT", "")
    _add_pods(reader, contents, namespace, folder, port if _NUMBER.fullmatch(port) else _PORT)
    lease = _settings(deployment).get("MAILTLS_LEASE", "")
    lease = lease if _NAME.fullmatch(lease) else name
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{lease}"
    found = reader.object(f"the Lease {namespace}/{lease}", path)
    contents.add(
        f"{folder}/lease.json", {"metadata": shapes.metadata(found), "spec": found.get("spec")} if found else None
    )
    _add_rights(reader, contents, namespace, folder)
    events = reader.some(f"the events in namespace {namespace}", f"/api/v1/namespaces/{namespace}/events", 5 * _MOST)
    about = [shapes.event(each) for each in sorted(events, key=shapes.when)]
    contents.add(f"{folder}/events.json", [each for each in about if str(each["about"].get("name")).startswith(name)])


def _settings(deployment: Json) -> dict[str, str]:
    containers = children(deployment, "spec", "template", "spec", "containers")
    return {each["name"]: str(each.get("value") or "") for one in containers for each in children(one, "env")}


def _add_pods(reader: Reader, contents: Contents, namespace: str, folder: str, port: str) -> None:
    place = f"/api/v1/namespaces/{namespace}/pods"
    pods = reader.some(f"the operator's pods in namespace {namespace}", place, MOST_PODS, {"labelSelector": LABELS})
    contents.add(f"{folder}/pods.json", [reader.shaped("a pod of the operator", shapes.pod, each) for each in pods])
    for pod in pods:
        name = pod["metadata"]["name"]
        contents.public.add(name)
        log = f"{place}/{name}/log?container=operator&timestamps=true&tailLines={LOG_LINES}&limitBytes={LOG_BYTES}"
        restarts = sum(int(each.get("restartCount") or 0) for each in children(pod, "status", "containerStatuses"))
        wanted = [("log", log), *([("log-before", f"{log}&previous=true")] if restarts else [])]
        for kind, path in wanted:
            text = reader.text(f"the {kind} of pod {namespace}/{name}", path, LOG_BYTES)
            if text is not None:
                contents.add_text(f"{folder}/{name}.{kind}.txt", text)
        page = reader.text(
            f"the metrics of pod {namespace}/{name}", f"{place}/{name}:{port}/proxy/metrics", METRICS_BYTES
        )
        if page is not None:
            contents.add_text(f"{folder}/{name}.metrics.txt", page)


def _add_rights(reader: Reader, contents: Contents, namespace: str, folder: str) -> None:
    """Add the roles of the chart and who has them; to have rights reviewed takes a request of another verb than GET."""
    found = []
    for plural in ("clusterroles", "clusterrolebindings"):
        found += reader.some(f"the operator's {plural}", f"{_AUTHORIZATION}/{plural}", _MOST, _LABEL)
    for plural in ("roles", "rolebindings"):
        what = f"the operator's {plural} in namespace {namespace}"
        found += reader.some(what, f"{_AUTHORIZATION}/namespaces/{namespace}/{plural}", _MOST, _LABEL)
    contents.add(f"{folder}/rights.json", [reader.shaped("a role", shapes.rights, each) for each in found])
