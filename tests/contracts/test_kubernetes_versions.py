"""The minor versions of Kubernetes that the project says it works with are those that it can be tested on."""

from __future__ import annotations

import re

import pytest
import yaml

from contracts.snippets import page_text
from testbed import kubernetes
from testbed.console import Trouble
from testbed.layout import KUBERNETES, Layout, project_folder

RELEASES = kubernetes.releases()
NEWEST = next(iter(RELEASES))
_ROW = re.compile(r"^\| (\d+\.\d+) \| (\d+\.\d+\.\d+) \|", re.MULTILINE)


def test_documented_versions_are_those_that_can_be_built() -> None:
    """The table in the installation page names each minor version with the release that is tested, the newest first."""
    rows = _ROW.findall(page_text("install.md"))
    assert rows == [(minor, release.version) for minor, release in RELEASES.items()]


def test_helm_refuses_what_is_older_and_no_page_promises_more() -> None:
    """The chart takes the oldest version of the table; a page that says "1.29 or newer" promises what nobody tests."""
    oldest = list(RELEASES)[-1]
    chart = yaml.safe_load((project_folder() / "charts/mailtls/Chart.yaml").read_text(encoding="utf-8"))
    assert chart["kubeVersion"] == f">={oldest}.0-0"
    pages = [project_folder() / "README.md", *(project_folder() / "docs").rglob("*.md")]
    assert not {
        page.name for page in pages if re.search(r"Kubernetes 1\.\d+ or (newer|later)", page.read_text("utf-8"))
    }


def test_forge_tests_every_older_version() -> None:
    """The newest is what the workflow for every change runs on."""
    text = (project_folder() / ".github/workflows/kubernetes.yml").read_text(encoding="utf-8")
    matrix = yaml.safe_load(text)["jobs"]["e2e"]["strategy"]["matrix"]["kubernetes"]
    assert matrix == [minor for minor in RELEASES if minor != NEWEST]


def test_versions_follow_each_other() -> None:
    """Three minor versions, as many as Kubernetes supports, without a gap."""
    minors = [int(minor.partition(".")[2]) for minor in RELEASES]
    assert minors == [minors[0], minors[0] - 1, minors[0] - 2]


@pytest.mark.parametrize("minor", RELEASES)
def test_pins_name_one_release_of_kubernetes_throughout(minor: str) -> None:
    """Kubernetes' modules belong together: 1.37.2 is v0.37.2 of each, and go.sum has what each must hash to."""
    release = RELEASES[minor]
    text = release.pins.read_text(encoding="utf-8")
    staged = f"v0.{release.version.partition('.')[2]}"
    assert set(re.findall(r"^\tk8s\.io/\S+ => k8s\.io/\S+ (\S+)$", text, re.MULTILINE)) == {staged}
    assert f"k8s.io/api {staged} h1:" in release.pins.with_suffix(".sum").read_text(encoding="utf-8")


def test_each_version_has_programs_and_a_cluster_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """So one never runs on the programs of another, and two can be up side by side."""
    monkeypatch.delenv("MAILTLS_TESTBED", raising=False)
    seen = set()
    for minor in ("", *list(RELEASES)[1:]):
        monkeypatch.setenv(KUBERNETES, minor)
        seen.add((kubernetes.chosen().sources, Layout.of().name))
    assert len({sources for sources, _ in seen}) == len({name for _, name in seen}) == len(RELEASES)


def test_version_that_cannot_be_built_is_refused_with_those_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, before anything is built."""
    monkeypatch.setenv(KUBERNETES, "1.12")
    with pytest.raises(Trouble, match=rf"Kubernetes 1\.12 is none of those that can be built: {', '.join(RELEASES)}"):
        kubernetes.chosen()
