"""The documentation as tests read it: its pages, its YAML and its links."""

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import yaml

from contracts.render import ROOT
from mailtls.api.reading.acme import default_acme
from mailtls.api.reading.spec import Defaults
from mailtls.issuance.solvers.registry import SOLVERS

ELSEWHERE = {"adr", "reasons"}
"""Folders of pages without code: decisions, and what is made from the reasons; the site's build checks their links."""
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name not in ELSEWHERE)]
)
INSTALLATION = Defaults(
    SOLVERS, default_acme({"server": "letsencrypt", "solvers": [{"http01": {}}]}, "mailtls", SOLVERS)
)
GIVEN = {"namespace": "mail", "uid": "u", "generation": 1, "creationTimestamp": "2026-08-01T12:00:00Z"}
"""What the API server gives a resource."""
_BLOCK = re.compile(r"(?ms)^(?P<indent> *)```yaml\n(?P<text>.*?)^(?P=indent)```$")
_SCREEN = re.compile(r"(?ms)^```console\n(?P<text>\$ .*?)^```$")
_LINK = re.compile(r"`[^`\n]*`|\]\((?P<target>[^)\s]+)\)")


def page_text(name: str) -> str:
    """Return the page of docs/ with that file name, whichever of its folders it is in."""
    (page,) = (each for each in PAGES if each.name == name and each.parent != ROOT)
    return page.read_text(encoding="utf-8")


def yaml_blocks() -> Iterator[tuple[str, Any]]:
    """Yield each YAML document in the pages with the place where it stands."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in _BLOCK.finditer(text):
            line = text.count("\n", 0, block.start()) + 1
            for document in yaml.safe_load_all(dedent(block["text"])):
                yield f"{page.name}:{line}", document


def objects() -> Iterator[tuple[str, Any]]:
    """Yield the Kubernetes objects among the YAML documents; a file of kustomize has a kind, and no metadata."""
    return ((place, document) for place, document in yaml_blocks() if "kind" in document and "metadata" in document)


def resources() -> Iterator[tuple[str, Any]]:
    """Yield each MailServerTLS in the pages."""
    return ((place, document) for place, document in objects() if document["kind"] == "MailServerTLS")


def settings() -> Iterator[tuple[str, Any]]:
    """Yield what is neither an object nor Prometheus' configuration: values of the chart."""
    blocks = ((place, document) for place, document in yaml_blocks() if "kind" not in document)
    return ((place, document) for place, document in blocks if "scrape_configs" not in document)


def links(page: Path) -> Iterator[str]:
    """Yield each link of a page that leads to another place of the repository."""
    for link in _LINK.finditer(page.read_text(encoding="utf-8")):
        if link["target"] and "://" not in link["target"]:
            yield link["target"]


def screens(name: str) -> Iterator[tuple[str, str]]:
    """Yield each command that a page shows with a `$` before it, and what it says is printed."""
    for block in _SCREEN.finditer(page_text(name)):
        for shown in re.split(r"(?m)^\$ ", block["text"])[1:]:
            command, _, printed = shown.partition("\n")
            yield command, printed


def used(value: Any, place: str = "") -> set[str]:
    """Return the path of every field in a resource, as `contracts.manifests.fields` names them."""
    if isinstance(value, list):
        return set().union(*(used(each, f"{place}[]") for each in value))
    if not isinstance(value, dict):
        return {place}
    return {place}.union(*(used(each, f"{place}.{name}") for name, each in value.items()))
