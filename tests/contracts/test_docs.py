"""The documentation: what it shows works, what it names exists, where it leads is something."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.manifests import fields, schema
from contracts.render import ROOT, helm_binary, helm_template
from contracts.snippets import GIVEN, INSTALLATION, PAGES, links, objects, page_text, resources, settings, used
from mailtls.api.reading.spec import parse
from mailtls.metrics import Metrics
from mailtls.reasons.reason import Reason
from testbed.cluster import Cluster

METRIC = re.compile(r"\bmailtls_[a-z0-9_]+")
REASON_CELL = re.compile(r"`([A-Z][a-z]+[A-Z][A-Za-z]+)`")
DECISIONS = sorted((ROOT / "docs" / "contributing" / "adr").glob("0*.md"))
NO_REASONS = {"RolledOut", "MailServerTLS", "ClusterRole"}


@pytest.mark.parametrize(("place", "resource"), [pytest.param(*each, id=each[0]) for each in resources()])
def test_resource_in_the_documentation_is_valid(place: str, resource: Any) -> None:
    """Every MailServerTLS shown has only fields of the schema, and the operator can read it."""
    known = {path for path, _ in fields(schema())}
    assert used(resource["spec"], ".spec") <= known, place
    parse(resource | {"metadata": GIVEN | resource["metadata"]}, INSTALLATION)


@pytest.mark.parametrize(("place", "resource"), [pytest.param(*each, id=each[0]) for each in resources()])
def test_resource_in_the_documentation_can_be_applied_over_that_of_the_tutorial(place: str, resource: Any) -> None:
    """Each one is in the namespace `mail`; one called `mx` keeps the Secret and has workloads, or the pods are lost."""
    assert resource["metadata"]["namespace"] == "mail", place
    if resource["metadata"]["name"] == "mx":
        assert resource["spec"]["secretName"] == "mx-tls", place
        assert resource["spec"]["workloads"], place


@pytest.mark.cluster
def test_objects_in_the_documentation_are_taken_by_the_api_server(cluster: Cluster, tmp_path: Path) -> None:
    """The API server would create every object shown, strictly validated."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=120s", "-f", str(ROOT / "crds"))
    for number, (_, document) in enumerate(objects()):
        document["metadata"] |= {"namespace": "default", "generateName": "docs-"}
        del document["metadata"]["name"]
        (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(document))
    cluster.kubectl("create", "--dry-run=server", "--validate=strict", "-f", str(tmp_path))


@pytest.mark.skipif(helm_binary() is None, reason="Helm is missing: the values in the documentation were not tried")
@pytest.mark.parametrize(("place", "values"), [pytest.param(*each, id=each[0]) for each in settings()])
def test_values_in_the_documentation_are_taken_by_the_chart(place: str, values: Any, tmp_path: Path) -> None:
    """The chart renders with every excerpt of values shown."""
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    extra = ("--set", "replicaCount=2") if "podDisruptionBudget" in values else ()
    done = helm_template("--values", str(tmp_path / "values.yaml"), *extra)
    assert done.returncode == 0, f"{place}: {done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file_of_the_repository(page: Path) -> None:
    """And to a heading that is in it."""
    assert [target for target in links(page) if not _leads_somewhere(page, target)] == []


def _leads_somewhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    if not (page.parent / path).exists():
        return False
    return not anchor or anchor in anchors(page.parent / path if path else page)


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the headings of a page as links name them."""
    headings = re.findall(r"(?m)^#+ (.*)$", page.read_text(encoding="utf-8"))
    return frozenset(re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings)


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_decision_points_at_code_that_exists(page: Path) -> None:
    """A decision is listed in the index, and the files that carry it out are where it says."""
    assert f"({page.name})" in (page.parent / "README.md").read_text(encoding="utf-8")
    *_, see = page.read_text(encoding="utf-8").partition("\nSee: ")
    named = re.findall(r"`([^`]*/[^`]*|[^`]+\.toml)`", see)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def exported() -> set[str]:
    """Return the names under which Prometheus stores the operator's own metrics, histograms without their suffix."""
    families = Metrics().registry.collect()
    own = (each for each in families if not each.name.startswith(("process_", "python_")))
    return {f"{each.name}_total" if each.type == "counter" else each.name for each in own}


def test_documented_metrics_are_those_exported() -> None:
    """The table of metrics has every metric that the operator exports, and no page names another."""
    assert set(re.findall(r"(?m)^\| `(mailtls_[a-z0-9_]+)`", page_text("metrics.md"))) == exported()
    assert set(METRIC.findall(page_text("metrics-and-alerts.md"))) <= exported()


def test_alerts_read_only_exported_metrics() -> None:
    """No alert waits for a metric that does not exist."""
    assert set(METRIC.findall((ROOT / "deploy" / "alerts.yaml").read_text(encoding="utf-8"))) <= exported()


@pytest.mark.parametrize(
    "page",
    ["troubleshooting.md", "dns-01.md", "http-01.md", "operations.md", "first-certificate.md", "domain-checks.md"],
)
def test_reasons_in_the_documentation_exist(page: str) -> None:
    """A reader who searches the reasons for a word finds it."""
    words = set(REASON_CELL.findall(page_text(page)))
    assert words - NO_REASONS <= {str(reason) for reason in Reason}


@pytest.mark.parametrize("page", ["docs/how-to", "docs/tutorials", "docs/reference/commands.md", "crds"])
def test_what_is_probed_is_called_verified(page: str) -> None:
    """As the condition is; `proven` is the name of a field, and of nothing else that users read."""
    files = [ROOT / page] if (ROOT / page).is_file() else [file for file in (ROOT / page).rglob("*") if file.is_file()]
    lines = [line.strip() for file in files for line in file.read_text("utf-8").splitlines()]
    words = re.compile(r"(?i)\b(prove[ns]?|proved|proving)\b(?!:|,)")
    assert [line for line in lines if words.search(line) and "`" not in line] == []
