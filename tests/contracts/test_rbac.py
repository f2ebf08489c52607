"""docs/reference/rbac.md, made from the roles that the chart renders: each verb stands in it once, with its reason."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from contracts import rights_page
from contracts.render import ROOT
from contracts.snippets import page_text
from mailtls.api.installation import Feature
from mailtls.kube import rights
from mailtls.kube.rights import OF_FEATURES

PAGE = page_text("rbac.md")
SERVED, OWN, FEATURES, PEOPLE = "In the namespaces", "In its own", "Switching features off", "For people"
Verbs = set[tuple[str, str]]


def rows(section: str) -> Iterator[list[str]]:
    """The cells of each row of a section's table, without its head."""
    body = PAGE.split(f"## {section}")[1].split("\n#")[0]
    lines = [line for line in body.splitlines() if line.startswith("|")][2:]
    assert lines
    yield from ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)


def told(section: str) -> Verbs:
    """The rights of a table whose first columns are resources and verbs."""
    found = [
        (resource, verb)
        for resources, verbs, *_ in rows(section)
        for resource in re.findall(r"`([^`]+)`", resources)
        for verb in verbs.split(", ")
    ]
    assert len(found) == len(set(found)), "a right is told twice"
    return set(found)


def granted(kind: str, name: str) -> Verbs:
    """The rights of a role in the manifest, which is the chart with its default values."""
    documents = yaml.safe_load_all((ROOT / "deploy" / "mailtls.yaml").read_text("utf-8"))
    (role,) = (each for each in documents if each["kind"] == kind and each["metadata"]["name"] == name)
    rules: list[dict[str, Any]] = role["rules"]
    return {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


@pytest.mark.parametrize(
    ("section", "kind", "name"),
    [(SERVED, "ClusterRole", "mailtls"), (OWN, "Role", "mailtls-operator")],
)
def test_page_tells_of_each_verb_that_is_granted_and_of_no_other(section: str, kind: str, name: str) -> None:
    """With what it is for, and what is lost without it."""
    assert told(section) == granted(kind, name)
    assert all(all(row) and len(row) == 4 for row in rows(section))


def test_installation_is_checked_for_the_rights_that_the_chart_grants() -> None:
    """`mailtls check-installation` knows all of them, and no others."""
    everywhere = {("customresourcedefinitions", "list"), ("customresourcedefinitions", "watch")}
    served = {(right.resource, right.verb) for right in rights.granted(())}
    assert served == granted("ClusterRole", "mailtls") - everywhere
    own = {(right.resource, right.verb) for right in rights.granted_at_home((), has_http01=True)}
    assert own == granted("Role", "mailtls-operator")


@pytest.mark.parametrize("comment", ["", "# read it", "# read it; without it: "])
def test_rule_without_its_reason_makes_no_page(comment: str) -> None:
    """Who adds a right says what it is for, and what is lost without it."""
    role = ["kind: Role", "metadata:", "  name: x", "rules:", f"  {comment}", "  - {resources: [pods], verbs: [get]}"]
    (rule,) = rights_page.rules("\n".join(role), "Role", "x")
    with pytest.raises(ValueError, match="needs a comment"):
        assert rule.row


def test_page_tells_which_verbs_a_feature_takes_away() -> None:
    """By the name of its value."""
    said = {row[0]: row for row in rows(FEATURES)}
    assert set(said) == {f"`features.{feature}: false`" for feature in Feature}
    for feature in Feature:
        cell = said[f"`features.{feature}: false`"][1]
        taken = {
            (resource, verb)
            for part in cell.split("; ")
            for resource in re.findall(r"`([^`]+)`", part)
            for verb in part.split("`")[0].strip().split(", ")
        }
        assert taken == {(right.resource, right.verb) for right in OF_FEATURES.get(feature, ())}


def test_page_tells_what_people_may_do() -> None:
    """By the roles that are added to Kubernetes' own."""
    for name, verbs, _ in rows(PEOPLE):
        role = name.strip("`")
        assert {("mailservertls", verb) for verb in verbs.split(", ")} == granted("ClusterRole", role)
