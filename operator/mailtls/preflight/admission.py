"""Would the API server take it: the schema and its rules, by a dry run; without a cluster, the schema alone."""

from collections.abc import Iterator
from typing import Final

from mailtls.model.preflight import Line, bad, good, unseen
from mailtls.model.reason import Finding, Reason
from mailtls.model.spec import Key
from mailtls.preflight.place import Place
from mailtls.preflight.schema import faults
from mailtls.world.cluster.resource import resource_path
from mailtls.world.ports import ApiError, Json

TOPIC: Final = "admission"
_KEPT: Final = ("name", "namespace", "labels", "annotations")


def lines(resource: Json, place: Place) -> Iterator[Line]:
    """Have the API server say what it would answer."""
    if place.cluster is None:
        yield from _by_schema(resource)
        return
    metadata = {name: value for name, value in resource["metadata"].items() if name in _KEPT}
    body = {"apiVersion": resource["apiVersion"], "kind": resource["kind"], "metadata": metadata}
    try:
        path = resource_path(Key(metadata["namespace"], metadata["name"]))
        place.cluster.rehearse(path, body | {"spec": resource.get("spec")})
    except ApiError as refusal:
        yield _refused(refusal)
        return
    yield good(TOPIC, "The API server would take it.")


def _by_schema(resource: Json) -> Iterator[Line]:
    found = faults(resource.get("spec"))
    for fault in found:
        yield bad(TOPIC, Finding(Reason.INVALID_SPEC, fault))
    if not found:
        yield good(TOPIC, "It fits the schema; the API server's further rules (CEL) are not run without a cluster.")


def _refused(refusal: ApiError) -> Line:
    if refusal.is_forbidden:
        return unseen(TOPIC, f"You may not apply it, so its schema was not checked there ({refusal.message}).")
    if refusal.is_missing:
        message = "The cluster does not know MailServerTLS, or has no such namespace: install the CRD from crds/ first."
        return bad(TOPIC, Finding(Reason.INVALID_SPEC, message))
    return bad(TOPIC, Finding(Reason.INVALID_SPEC, refusal.message))
