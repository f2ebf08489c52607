"""The folders in examples/: what they hold is taken by the schema, the chart and the API server, and fits the pages."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.manifests import fields, schema
from contracts.render import CHART, ROOT, helm, helm_binary
from contracts.snippets import GIVEN, INSTALLATION, page_text, resources, used
from mailtls.api.reading.spec import parse
from mailtls.api.resource import restart_annotation
from testbed.cluster import Cluster

EXAMPLES = ROOT / "examples"
FOLDERS = sorted(each.name for each in EXAMPLES.iterdir() if each.is_dir())
PAGES = {
    "postfix": "postfix.md",
    "docker-mailserver": "docker-mailserver.md",
    "mailu": "mailu.md",
    "stalwart": "stalwart.md",
}
KNOWN_HERE = ("v1", "apps/v1", "mailtls.dev/v1alpha1")
MARKED_OPTIONAL = "postfix"
"""The page of this example marks the volume as optional; the example has a placeholder."""
CHARTS_OF_OTHERS = {"docker-mailserver", "mailu"}
NOTES = ROOT / "charts/mailtls/templates/NOTES.txt"
TEXTS = [*ROOT.glob("docs/**/*.md"), *EXAMPLES.rglob("*.*"), ROOT / "README.md", NOTES]
MOUNTED = re.compile(r"/etc/[\w-]*tls\b(?=/tls[.]|[,}])")


def documents(folder: str) -> list[tuple[Path, Any]]:
    """Every YAML document of an example, with its file."""
    files = sorted((EXAMPLES / folder).glob("*.yaml"))
    return [(file, each) for file in files for each in yaml.safe_load_all(file.read_text("utf-8"))]


def of_kind(folder: str, kind: str) -> list[Any]:
    """The objects of a kind in an example."""
    return [each for _, each in documents(folder) if each.get("kind") == kind]


@pytest.mark.parametrize("folder", FOLDERS)
def test_resource_of_an_example_is_valid(folder: str) -> None:
    """It has only fields of the schema, and the operator can read it; its Secret is mounted where pods are shown."""
    known = {path for path, _ in fields(schema())}
    mounted = {
        volume["secret"]["secretName"]
        for kind in ("StatefulSet", "Deployment")
        for each in of_kind(folder, kind)
        for volume in each["spec"]["template"]["spec"]["volumes"]
        if "secret" in volume
    }
    for resource in of_kind(folder, "MailServerTLS"):
        assert used(resource["spec"], ".spec") <= known
        desired = parse(resource | {"metadata": GIVEN | resource["metadata"]}, INSTALLATION)
        assert desired.key.namespace == "mail"
        assert mounted <= {desired.secret_name}


@pytest.mark.parametrize("folder", sorted(PAGES))
def test_example_is_called_as_on_its_page(folder: str) -> None:
    """The resource, its namespace, its Secret and its workloads have the names that the page about the server gives."""
    (mine,) = of_kind(folder, "MailServerTLS")
    page = next(each for place, each in resources() if place.startswith(f"{PAGES[folder]}:"))
    assert mine["metadata"] == page["metadata"]
    assert mine["spec"]["secretName"] == page["spec"]["secretName"]
    assert mine["spec"]["dnsNames"] == page["spec"]["dnsNames"]
    assert mine["spec"]["workloads"] == page["spec"]["workloads"]
    assert mine["spec"].get("bootstrap") == page["spec"].get("bootstrap") or folder == MARKED_OPTIONAL
    assert f"](../../examples/{folder}/README.md" in page_text(PAGES[folder])


def test_stalwart_keeps_its_folders_on_claims_that_its_user_may_write_to() -> None:
    """The volumes and the user of its image: without `config.json` it begins as if it were new."""
    (workload,) = of_kind("stalwart", "StatefulSet")
    pod = workload["spec"]["template"]["spec"]
    claims = {each["metadata"]["name"] for each in workload["spec"]["volumeClaimTemplates"]}
    mounts = pod["containers"][0]["volumeMounts"]
    assert {each["mountPath"] for each in mounts if each["name"] in claims} == {"/etc/stalwart", "/var/lib/stalwart"}
    assert pod["securityContext"] == {"fsGroup": 2000}


def test_flux_goes_on_by_itself_after_it_came_too_early_or_failed() -> None:
    """Without these it waits for its interval, an hour, or for a person."""
    (mail,), (operator,) = of_kind("flux", "Kustomization"), of_kind("flux", "HelmRelease")
    assert mail["spec"]["retryInterval"] == "1m"
    for action in ("install", "upgrade"):
        assert operator["spec"][action] == {"strategy": {"name": "RetryOnFailure"}}


def test_certificate_is_mounted_at_one_place_in_every_text() -> None:
    """A reader who goes from the README to a page, to the notes of the chart or to an example finds the same path."""
    found = {path for text in TEXTS for path in MOUNTED.findall(text.read_text("utf-8"))}
    assert found == {"/etc/mail-tls"}


def test_names_of_the_first_resource_are_the_same_in_every_text() -> None:
    """README and the notes of the chart show the resource of the first page: its name, its Secret and its workload."""
    for text in (ROOT / "README.md", NOTES):
        shown = text.read_text("utf-8")
        assert "secretName: mx-tls" in shown, text
        assert "name: mx" in shown, text
        assert "kind: StatefulSet, name: postfix" in shown, text


@pytest.mark.skipif(helm_binary() is None, reason="Helm is missing: the values of the examples were not tried")
@pytest.mark.parametrize("folder", sorted(set(FOLDERS) - CHARTS_OF_OTHERS))
def test_values_of_an_example_are_taken_by_the_chart(folder: str, tmp_path: Path) -> None:
    """The chart renders with them, and Helm's linter finds nothing, also where a tool of GitOps hands them over."""
    values = [each for file, each in documents(folder) if file.name == "values.yaml"]
    values += [
        each["spec"]["source"]["helm"]["valuesObject"]
        for each in of_kind(folder, "Application")
        if "helm" in each["spec"]["source"]
    ]
    values += [each["spec"]["values"] for each in of_kind(folder, "HelmRelease")]
    for each in values:
        (tmp_path / "values.yaml").write_text(yaml.safe_dump(each))
        done = helm("lint", "--strict", str(CHART), "--values", str(tmp_path / "values.yaml"))
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("folder", FOLDERS)
def test_readme_of_an_example_is_short_and_names_files_that_exist(folder: str) -> None:
    """Commands name files of the example, and links lead somewhere."""
    text = (EXAMPLES / folder / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 17
    for file in re.findall(r"examples/[\w./-]+", text):
        assert (ROOT / file).exists(), file
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (EXAMPLES / folder / link).exists(), link
    assert f"[{folder}]({folder}/README.md)" in (EXAMPLES / "README.md").read_text("utf-8")


def test_argo_cd_leaves_annotations_of_ours_alone_and_no_others() -> None:
    """Of all annotations it would not take over what Git says; the example and the page about it say the same."""
    mail = next(each for each in of_kind("argo-cd", "Application") if each["metadata"]["name"] == "mail")
    (ignored,) = mail["spec"]["ignoreDifferences"]
    (path,) = ignored.pop("jqPathExpressions")
    assert ignored == {"group": "apps", "kind": "*"}
    template, _, keys = path.partition("[")
    ours = restart_annotation("mx-tls").partition("/")[0]
    assert (template, f'startswith("{ours}/")' in keys) == (".spec.template.metadata.annotations", True)
    assert path in page_text("mounts.md")
    assert "RespectIgnoreDifferences=true" in mail["spec"]["syncPolicy"]["syncOptions"]


@pytest.mark.cluster
def test_objects_of_the_examples_are_taken_by_the_api_server(cluster: Cluster, tmp_path: Path) -> None:
    """Strictly validated, those of kinds that every cluster has with the CRD."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=120s", "-f", str(ROOT / "crds"))
    objects = [each for folder in FOLDERS for _, each in documents(folder) if each.get("apiVersion") in KNOWN_HERE]
    for number, each in enumerate(each for each in objects if each["kind"] != "Namespace"):
        each["metadata"] |= {"namespace": "default", "generateName": "examples-"}
        del each["metadata"]["name"]
        (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(each))
    cluster.kubectl("create", "--dry-run=server", "--validate=strict", "-f", str(tmp_path))
