"""Would the API server take it: the schema and its rules, by a dry run or without a cluster."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from mailtls.api.reading.document import Json
from mailtls.api.resource import resource_path
from mailtls.api.spec import Key
from mailtls.cli.preflight.place import Place
from mailtls.cli.results import Line, bad, good, unseen
from mailtls.kube.interface import ApiError
from mailtls.reasons.quoting import shorten
from mailtls.reasons.reason import Finding, Reason

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


_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
}
_MOST: Final = 20  # faults that are listed


def faults(spec: Any) -> tuple[str, ...]:
    """Return a sentence for each place where a spec does not fit the schema, the first ones if there are many."""
    found = _faults(_schema(), spec, "spec")
    return tuple(fault for _, fault in zip(range(_MOST), found, strict=False))


@cache
def _schema() -> Mapping[str, Any]:
    schema: dict[str, Any] = json.loads(files(__package__).joinpath("schema.json").read_text("utf-8"))
    return schema


def _faults(node: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    if not _is(node["type"], value):
        yield f"{path} must be of type {node['type']}."
    elif isinstance(value, dict):
        yield from _object(node, value, path)
    elif isinstance(value, list):
        yield from _size(node, len(value), "Items", path)
        for number, each in enumerate(value):
            yield from _faults(node["items"], each, f"{path}[{number}]")
    else:
        yield from _scalar(node, value, path)


def _object(node: Mapping[str, Any], value: Mapping[Any, Any], path: str) -> Iterator[str]:
    members = node.get("properties", {})
    for name in node.get("required", ()):
        if value.get(name) is None:
            yield f"{path}.{name} is missing."
    for name, member in value.items():
        if name not in members:
            yield f"{path}.{shorten(str(name))} is no field: it is one of {', '.join(members)}."
        elif member is not None:  # the API server drops it, as if it were not there
            yield from _faults(members[name], member, f"{path}.{name}")


def _scalar(node: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    shown = shorten(str(value))
    if "enum" in node and value not in node["enum"]:
        yield f"{path} is «{shown}», but must be one of {', '.join(map(str, node['enum']))}."
    if not node.get("minimum", value) <= value <= node.get("maximum", value):
        yield f"{path} is {shown}, but must be from {node.get('minimum', 'any')} to {node.get('maximum', 'any')}."
    if isinstance(value, str):
        yield from _size(node, len(value), "Length", path)
        if "pattern" in node and not _fits(node["pattern"], value):
            yield f"{path} is «{shown}», which does not fit {node['pattern']}."


def _fits(pattern: str, value: str) -> bool:
    """Search as Go does, to whom `$` is the very end, and not also before a last line break."""
    return re.search(re.sub(r"\$$", r"\\Z", pattern), value) is not None


def _size(node: Mapping[str, Any], size: int, unit: str, path: str) -> Iterator[str]:
    least, most = node.get(f"min{unit}", 0), node.get(f"max{unit}", size)
    if not least <= size <= most:
        what = "entries" if unit == "Items" else "characters"
        yield f"{path} has {size} {what}, but must have {least} to {node.get(f'max{unit}', 'any number of them')}."


def _is(kind: str, value: Any) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
