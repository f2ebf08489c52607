"""The CRD and its example manifests, as tests read them."""

from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]

HERE = Path(__file__).parent
CRD_FILE = HERE.parents[1] / "crds" / "mailservertls.yaml"
VALID = sorted((HERE / "valid").glob("*.yaml"))
INVALID = sorted((HERE / "invalid").glob("*.yaml"))


def crd() -> Json:
    """Return the CustomResourceDefinition, a copy that a test may change."""
    return deepcopy(_read(CRD_FILE))


@cache
def _read(file: Path) -> Json:
    document: Json = yaml.safe_load(file.read_text(encoding="utf-8"))
    return document


def schema() -> Json:
    """Return the schema of the one version there is."""
    (version,) = crd()["spec"]["versions"]
    found: Json = version["schema"]["openAPIV3Schema"]
    return found


def fields(node: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Yield each schema below `node` with its path (`.spec.dnsNames[]`), `node` first."""
    yield path, node
    for name, member in node.get("properties", {}).items():
        yield from fields(member, f"{path}.{name}")
    if "items" in node:
        yield from fields(node["items"], f"{path}[]")


def with_defaults(node: Json, value: Any) -> Any:
    """Fill in what the schema gives by default, as the API server does before it stores an object."""
    if isinstance(value, list):
        return [with_defaults(node.get("items", {}), item) for item in value]
    if not isinstance(value, dict):
        return value
    members = node.get("properties", {})
    given = {name: member["default"] for name, member in members.items() if "default" in member} | value
    return {name: with_defaults(members.get(name, {}), member) for name, member in given.items()}


def stored(manifest: Path) -> Json:
    """Return a manifest with the metadata that the API server gives to it; its defaults are not filled in."""
    resource = deepcopy(_read(manifest))
    resource["metadata"] |= {
        "namespace": "mail",
        "uid": "6b1c0d5e-0000-4000-8000-000000000001",
        "generation": 1,
        "creationTimestamp": "2026-08-01T12:00:00Z",
    }
    return resource


def sentence(manifest: Path) -> str:
    """Return what the refusal of an invalid manifest must say: the field, a colon, and the sentence."""
    return manifest.with_suffix(".message").read_text(encoding="utf-8").strip()
