"""Reads `MailServerTLS` manifests from YAML files, as people write and pipe them."""

from collections.abc import Iterator
from typing import Any, Final

import yaml

from mailtls.model.quoting import shorten
from mailtls.world.cluster.resource import GROUP
from mailtls.world.ports import Json

_KIND: Final = "MailServerTLS"
_MOST: Final = 1000


class InvalidManifest(ValueError):
    """The file cannot be read as manifests; the text is the sentence to show."""


def read_manifests(text: str, namespace: str) -> tuple[Json, ...]:
    """Return the resources in a text of YAML or JSON, Lists unpacked; others are left out."""
    try:
        documents = list(yaml.safe_load_all(text))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidManifest(f"This is no YAML: {shorten(' '.join(str(error).split()))}.") from None
    found = [_placed(each, namespace) for document in documents[:_MOST] for each in _unpacked(document)]
    if not found:
        raise InvalidManifest(f"There is no {_KIND} in it.")
    return tuple(found)


def _unpacked(document: Any) -> Iterator[Json]:
    if not isinstance(document, dict):
        return
    items = document.get("items")
    for each in items if isinstance(items, list) else [document]:
        if isinstance(each, dict) and each.get("kind") == _KIND:
            if not str(each.get("apiVersion", "")).startswith(f"{GROUP}/"):
                raise InvalidManifest(f"apiVersion of {_KIND} must be {GROUP}/v1alpha1.")
            yield each


def _placed(resource: Json, namespace: str) -> Json:
    metadata = resource.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise InvalidManifest(f"A {_KIND} in it has no metadata.name.")
    return resource | {"metadata": {"namespace": namespace} | metadata}
