"""Would the API server take it: the schema and its rules, by a dry run or without a cluster."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

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


_MOST: Final = 20  # faults that are listed


def faults(spec: Any) -> tuple[str, ...]:
    """Return a sentence for each place where a spec does not fit the CRD's schema, the first ones if there are many."""
    validator = _validator()
    found = validator.iter_errors(_without_nulls(validator.schema, spec))
    listed = dict.fromkeys(sentence for error in found for sentence in _sentences(error))
    return tuple(listed)[:_MOST]


def _fits(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    """Search as Go does, to whom `$` is the very end, and not also before a last line break."""
    if isinstance(value, str) and re.search(re.sub(r"\$$", r"\\Z", pattern), value) is None:
        yield ValidationError(pattern)


@cache
def _validator() -> Any:
    """Validate by the schema of the spec in the shipped CRD."""
    text = files(__package__).joinpath("mailservertls.yaml").read_bytes()
    definition = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - either is safe
    (version,) = definition["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    extended: Any = extend  # its stubs have no types
    return extended(Draft202012Validator, {"pattern": _fits})(_closed(schema))


def _closed(node: Mapping[str, Any]) -> dict[str, Any]:
    """Take objects to have no fields but those that are named: the API server drops, or refuses, what has no schema."""
    closed = dict(node)
    if node.get("x-kubernetes-int-or-string"):
        closed["type"] = ["integer", "string"]
    if "properties" in node:
        closed["properties"] = {name: _closed(member) for name, member in node["properties"].items()}
        closed["additionalProperties"] = False
    if "items" in node:
        closed["items"] = _closed(node["items"])
    return closed


def _without_nulls(schema: Mapping[str, Any], value: Any) -> Any:
    """Leave out what is null, as the API server does, as if it were not there."""
    if isinstance(value, list):
        return [_without_nulls(schema.get("items", {}), each) for each in value]
    members = schema.get("properties", {})
    if not members or not isinstance(value, dict):
        return value
    kept = ((name, each) for name, each in value.items() if each is not None or name not in members)
    return {name: _without_nulls(members.get(name, {}), each) for name, each in kept}


def _place(error: ValidationError) -> str:
    """Where in the spec: `spec.workloads[0].ports`."""
    return "spec" + "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in error.absolute_path)


def _sentences(error: ValidationError) -> Iterator[str]:
    value: Any = error.instance
    schema: Any = error.schema
    place = _place(error)
    match error.validator:
        case "type":
            kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            yield f"{place} must be of type {' or '.join(kinds)}."
        case "required":
            yield from (f"{place}.{name} is missing." for name in schema["required"] if name not in value)
        case "additionalProperties":
            known = schema["properties"]
            unknown = (shorten(str(name)) for name in value if name not in known)
            yield from (f"{place}.{name} is no field: it is one of {', '.join(known)}." for name in unknown)
        case "enum":
            yield f"{place} is «{shorten(str(value))}», but must be one of {', '.join(map(str, schema['enum']))}."
        case "pattern":
            yield f"{place} is «{shorten(str(value))}», which does not fit {schema['pattern']}."
        case "minimum" | "maximum":
            least, most = schema.get("minimum", "any"), schema.get("maximum", "any")
            yield f"{place} is {shorten(str(value))}, but must be from {least} to {most}."
        case "minItems" | "maxItems":
            yield f"{place} has {len(value)} entries, but must have {_bounds(schema, 'Items')}."
        case "minLength" | "maxLength":
            yield f"{place} has {len(value)} characters, but must have {_bounds(schema, 'Length')}."
        case _:
            yield f"{place} does not fit the schema: {shorten(error.message)}."


def _bounds(schema: Mapping[str, Any], unit: str) -> str:
    return f"{schema.get(f'min{unit}', 0)} to {schema.get(f'max{unit}', 'any number of them')}"
