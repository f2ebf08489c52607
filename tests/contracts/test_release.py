"""`make release`: one version everywhere, files that depend on nothing but the commit, and licences that fit."""

import datetime as dt
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.render import helm_binary
from release.__main__ import obstacles
from release.images import pack, pinned_base
from release.licences import dependencies, is_allowed, refused
from release.versions import Refused, changelog_section, disagreements, named_versions, version_of

ROOT = Path(__file__).parents[2]
VERSION = version_of(ROOT)
NEEDS_HELM = pytest.mark.skipif(helm_binary() is None, reason="Helm is missing: no release was made")


def test_every_file_that_names_a_version_names_the_same() -> None:
    """Package, chart, manifest, documentation and changelog are of one version."""
    assert disagreements(ROOT) == []
    assert {"charts/mailtls/Chart.yaml", "deploy/mailtls.yaml", "README.md", "docs/how-to/install.md"} <= set(
        named_versions(ROOT)
    )
    assert "version" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dynamic"]


def a_tree(folder: Path, *, changelog: str = "## [Unreleased]\n\nNews.\n", page: str = "") -> Path:
    """A tree that names versions where this one does."""
    for name in ("operator/mailtls/__init__.py", "charts/mailtls/Chart.yaml", "deploy/mailtls.yaml"):
        (folder / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, folder / name)
    for name, text in {"README.md": "", "docs/a.md": page, "charts/mailtls/values.yaml": ""}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "CHANGELOG.md").write_text(changelog)
    return folder


def test_page_that_names_another_image_is_found(tmp_path: Path) -> None:
    """Whoever copies a command from the documentation gets the version that the page is about."""
    tree = a_tree(tmp_path, page="docker pull registry.example.com/mailtls:0.0.9\n")
    assert disagreements(tree) == [f"docs/a.md names 0.0.9, and the package is {VERSION}"]


def test_manifest_with_another_image_is_found(tmp_path: Path) -> None:
    """`deploy/mailtls.yaml` carries the version in labels and in the image's tag."""
    tree = a_tree(tmp_path)
    manifest = tree / "deploy/mailtls.yaml"
    manifest.write_text(re.sub(r'(image: "[^"]*:)[^"]+"', r'\g<1>9.9.9"', manifest.read_text()))
    assert disagreements(tree) == [f"deploy/mailtls.yaml names {VERSION}, 9.9.9, and the package is {VERSION}"]


def test_changelog_whose_newest_release_is_another_is_found(tmp_path: Path) -> None:
    """Without an unreleased part the newest heading is the version of the tree."""
    tree = a_tree(tmp_path, changelog="## [9.9.9] - 2030-01-31\n\nNews.\n")
    assert disagreements(tree) == [f"CHANGELOG.md names 9.9.9, and the package is {VERSION}"]


CHANGELOG = "# Changelog\n\n## [Unreleased]\n\nSoon.\n\n## [1.2.0] - 2030-01-31\n\nNow.\n\n## [1.1.0]\n\nThen.\n"


@pytest.mark.parametrize(
    ("version", "tagged", "section"),
    [
        ("1.2.0", True, "## [1.2.0] - 2030-01-31\n\nNow.\n"),
        ("1.3.0", False, "## [Unreleased]\n\nSoon.\n"),
    ],
)
def test_changelog_section_is_that_of_the_version(tmp_path: Path, version: str, tagged: bool, section: str) -> None:
    """A tag needs its own heading with a date; anything else is released as what is unreleased."""
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    assert changelog_section(tmp_path, version, tagged=tagged) == section


@pytest.mark.parametrize(
    ("version", "why"), [("1.1.0", "gives no date for 1.1.0"), ("1.3.0", r"no heading `## \[1\.3\.0\]")]
)
def test_tag_without_a_dated_heading_is_refused(tmp_path: Path, version: str, why: str) -> None:
    """What was not written down before the tag would be missing in the release for ever."""
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    with pytest.raises(Refused, match=why):
        changelog_section(tmp_path, version, tagged=True)


def test_every_dependency_may_be_shipped() -> None:
    """The licences that the locked packages declare are on the list, and none is unknown."""
    for lock in ("requirements.lock", "requirements-dev.lock"):
        found = dependencies(ROOT / lock)
        assert len(found) > 40
        assert refused(found) == []


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only OR MIT", True),
        ("Apache-2.0 AND BSD-2-Clause", True),
        ("Apache-2.0 AND GPL-3.0-only", False),
        ("not installed", False),
        ("none", False),
    ],
)
def test_licence_expression_is_judged_by_its_parts(expression: str, allowed: bool) -> None:
    """Of alternatives one is enough; of licences that apply together each counts."""
    assert is_allowed(expression) is allowed


def release(output: Path, *, clock: str, mask: int) -> dict[str, str]:
    """Make a release without images, of the tree as it is; return the digest of each file."""
    command = [
        sys.executable, "-m", "release", "--snapshot", "--output", str(output), "--helm", str(helm_binary()),
        "--repository", "registry.example.com/mail/mailtls", "--homepage", "https://forge.example.com/mail",
        "--architectures",
    ]  # fmt: skip
    paths = [str(ROOT / name) for name in ("packaging", "tests", "operator")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TZ": clock, "PYTHONHASHSEED": str(mask)}
    done = subprocess.run(
        command, cwd=output.parent, env=environment, umask=mask, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(output.iterdir())}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of the tree as it is."""
    output = tmp_path_factory.mktemp("release") / "dist"
    release(output, clock="UTC", mask=0o022)
    return output


@NEEDS_HELM
def test_two_releases_of_one_commit_are_the_same(released: Path, tmp_path: Path) -> None:
    """Another folder, another umask, another time zone and another order of hashes change no byte."""
    first = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(released.iterdir())}
    assert release(tmp_path / "again", clock="Asia/Tokyo", mask=0o077) == first
    assert set(first) == {
        f"CHANGES-{VERSION}.md", f"kubectl-mailtls-{VERSION}.tar.gz", f"mailtls-{VERSION}-alerts.yaml",
        f"mailtls-{VERSION}-crd.yaml", f"mailtls-{VERSION}-docs.tar.gz",
        f"mailtls-{VERSION}-py3-none-any.whl", f"mailtls-{VERSION}.spdx.json",
        f"mailtls-{VERSION}.tar.gz", f"mailtls-{VERSION}.tgz", f"mailtls-{VERSION}.yaml", "mailtls.krew.yaml",
        "SHA256SUMS",
    }  # fmt: skip


@NEEDS_HELM
def test_checksums_are_those_of_the_files(released: Path) -> None:
    """`sha256sum --check` passes, and names every file but itself."""
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=released, capture_output=True, text=True, check=True
    )
    assert {line.partition(":")[0] for line in done.stdout.splitlines()} == {
        each.name for each in released.iterdir()
    } - {"SHA256SUMS"}


@NEEDS_HELM
def test_released_chart_and_manifest_name_the_released_image(released: Path) -> None:
    """Nobody who installs a release has to say where its image is."""
    packed = str(released / f"mailtls-{VERSION}.tgz")
    shown = subprocess.run([str(helm_binary()), "template", "x", packed], capture_output=True, text=True, check=True)
    for text in (shown.stdout, (released / f"mailtls-{VERSION}.yaml").read_text()):
        images = {
            container["image"]
            for each in yaml.safe_load_all(text)
            if each and each["kind"] == "Deployment"
            for container in each["spec"]["template"]["spec"]["containers"]
        }
        assert images == {f"registry.example.com/mail/mailtls:{VERSION}"}
    kinds = [each["kind"] for each in yaml.safe_load_all((released / f"mailtls-{VERSION}.yaml").read_text())]
    assert kinds[:2] == ["CustomResourceDefinition", "Namespace"]


@NEEDS_HELM
def test_released_chart_says_where_it_and_its_image_are(released: Path) -> None:
    """Artifact Hub shows the image and the page of the project from the chart's own words."""
    packed = str(released / f"mailtls-{VERSION}.tgz")
    shown = subprocess.run([str(helm_binary()), "show", "chart", packed], capture_output=True, text=True, check=True)
    chart = yaml.safe_load(shown.stdout)
    (image,) = yaml.safe_load(chart["annotations"]["artifacthub.io/images"])
    assert image["image"] == f"registry.example.com/mail/mailtls:{VERSION}"
    assert chart["home"] == "https://forge.example.com/mail"


@NEEDS_HELM
def test_packages_hold_nothing_that_git_does_not_know(released: Path) -> None:
    """What lies about in somebody's checkout gets into no release."""
    known = set(
        subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    )
    wheel = {
        name
        for name in zipfile.ZipFile(released / f"mailtls-{VERSION}-py3-none-any.whl").namelist()
        if "dist-info" not in name
    }
    assert {f"operator/{name}" for name in wheel} <= known
    with tarfile.open(released / f"mailtls-{VERSION}.tar.gz") as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert names - {"PKG-INFO"} <= known


@NEEDS_HELM
def test_bill_of_materials_names_every_package_of_the_image(released: Path) -> None:
    """SPDX: each locked package once, with version, licence and package URL; all of them belong to mailtls."""
    bill = json.loads((released / f"mailtls-{VERSION}.spdx.json").read_text())
    assert bill["spdxVersion"] == "SPDX-2.3"
    own, *others = bill["packages"]
    wheel = (released / own["packageFileName"]).read_bytes()
    assert own["checksums"] == [{"algorithm": "SHA256", "checksumValue": hashlib.sha256(wheel).hexdigest()}]
    locked = {f"pkg:pypi/{each.name}@{each.version}": each.licence for each in dependencies(ROOT / "requirements.lock")}
    assert {each["externalRefs"][0]["referenceLocator"]: each["licenseDeclared"] for each in others} == locked
    identifiers = [each["SPDXID"] for each in bill["packages"]]
    assert len(set(identifiers)) == len(identifiers)
    assert [each for each in identifiers if not re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", each)] == []
    related = {each["relatedSpdxElement"] for each in bill["relationships"]}
    assert related == set(identifiers)
    assert dt.datetime.fromisoformat(bill["creationInfo"]["created"]).tzinfo is not None


@NEEDS_HELM
def test_plugin_of_kubectl_starts_by_a_link_as_krew_makes_it(released: Path, tmp_path: Path) -> None:
    """The archive that krew's manifest names, with its packages installed, runs as `kubectl mailtls`."""
    manifest = yaml.safe_load((released / "mailtls.krew.yaml").read_text())
    (platform,) = manifest["spec"]["platforms"]
    archive = released / platform["uri"].rpartition("/")[2]
    assert platform["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert manifest["spec"]["version"] == f"v{VERSION}"
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "store", filter="data")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/kubectl-mailtls").symlink_to(f"../store/{platform['bin']}")
    an_environment(tmp_path / f"cache/kubectl-mailtls/{VERSION}-{sys.version_info[0]}.{sys.version_info[1]}")
    environment = {
        "PATH": os.environ["PATH"],
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "MAILTLS_PYTHON": sys.executable,
    }
    command = [str(tmp_path / "bin/kubectl-mailtls"), "--help"]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "kubectl mailtls [OPTIONS] COMMAND" in done.stdout


def an_environment(folder: Path) -> None:
    """What the plugin installs at its first call, with the packages of this environment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))


def test_tree_with_changes_is_not_released(tmp_path: Path) -> None:
    """A release that no commit describes could not be made again; nor is one made under another version's tag."""
    tree = a_tree(tmp_path)
    shutil.copy(ROOT / "requirements.lock", tree)
    git = ["git", "-C", str(tree), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=all"]):
        subprocess.run([*git, *command], check=True)
    assert obstacles(tree, tag=f"v{VERSION}", snapshot=False) == []
    (tree / "README.md").write_text("changed")
    (found,) = obstacles(tree, tag=None, snapshot=False)
    assert "not committed" in found
    assert obstacles(tree, tag="v9.9.9", snapshot=True) == [f"the tag is v9.9.9, and the package is {VERSION}"]


def test_image_archive_depends_on_its_layout_alone(tmp_path: Path) -> None:
    """The times at which the builder wrote its files are not in the archive."""
    digests = []
    for number, name in enumerate(("one", "two")):
        layout = tmp_path / name
        (layout / "blobs").mkdir(parents=True)
        for file in ("index.json", "blobs/b", "blobs/a"):
            (layout / file).write_text(file)
            os.utime(layout / file, (number, number))
        pack(layout, tmp_path / f"{name}.tar", epoch=1)
        digests.append(hashlib.sha256((tmp_path / f"{name}.tar").read_bytes()).hexdigest())
    assert digests[0] == digests[1]


def test_base_image_is_pinned_by_its_digest() -> None:
    """A tag is whatever its owner makes of it; a digest is one image."""
    assert re.fullmatch(r"\S+:\S+@sha256:[0-9a-f]{64}", pinned_base(ROOT / "Dockerfile"))


def documents(*files: Path) -> list[Any]:
    """The objects of YAML files, in an order of their own."""
    found = [each for file in files for each in yaml.safe_load_all(file.read_text()) if each]
    return sorted(found, key=identity)


def identity(document: dict[str, Any]) -> tuple[str, str, str]:
    """The kind and name by which two renderings are compared."""
    return document["kind"], document["metadata"].get("namespace", ""), document["metadata"]["name"]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is missing: the kustomize base was not built")
def test_kustomize_base_is_the_rendered_manifest() -> None:
    """`kubectl kustomize deploy` gives the definition and the manifest, neither more nor less."""
    done = subprocess.run(["kubectl", "kustomize", str(ROOT / "deploy")], capture_output=True, text=True, check=True)
    built = sorted((each for each in yaml.safe_load_all(done.stdout) if each), key=identity)
    assert built == documents(ROOT / "crds/mailservertls.yaml", ROOT / "deploy/mailtls.yaml")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is missing: the kustomize base was not built")
def test_overlay_of_the_documentation_sets_image_and_variable(tmp_path: Path) -> None:
    """The overlay as printed, beside a checkout, changes the Deployment and nothing else."""
    page = (ROOT / "docs/how-to/install.md").read_text()
    (overlay,) = re.findall(r"```yaml\n(apiVersion: kustomize.*?)```", page, re.DOTALL)
    (tmp_path / "kustomization.yaml").write_text(overlay)
    for name in ("deploy", "crds"):
        shutil.copytree(ROOT / name, tmp_path / "mailtls" / name)
    done = subprocess.run(["kubectl", "kustomize", str(tmp_path)], capture_output=True, text=True, check=True)
    built = sorted((each for each in yaml.safe_load_all(done.stdout) if each), key=identity)
    base = documents(ROOT / "crds/mailservertls.yaml", ROOT / "deploy/mailtls.yaml")
    ((_, changed),) = [(old, new) for old, new in zip(base, built, strict=True) if old != new]
    (container,) = changed["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example.com/mailtls:{VERSION}"
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert variables["MAILTLS_ACME_EMAIL"] == "postmaster@example.com"
    assert "MAILTLS_NAMESPACE" in variables


WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_pins_its_actions_and_has_few_rights(workflow: Path) -> None:
    """Each action is a commit with its version beside it; a workflow may write only what one of its jobs needs."""
    text = workflow.read_text()
    used = re.findall(r"uses: (.*)", text)
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)] == []
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_runs_targets_that_there_are(workflow: Path) -> None:
    """The forge does what a person does: by the same targets of the Makefile."""
    targets = set(re.findall(r"(?m)^([a-z0-9-]+):", (ROOT / "Makefile").read_text()))
    named = set(re.findall(r"\bmake ([a-z0-9-]+)", workflow.read_text()))
    assert named
    assert named <= targets


def test_chart_says_to_artifact_hub_what_is_in_the_tree() -> None:
    """The listing's examples are resources that the schema takes, and its definition is the one in crds/."""
    annotations = yaml.safe_load((ROOT / "charts/mailtls/Chart.yaml").read_text())["annotations"]
    (definition,) = yaml.safe_load(annotations["artifacthub.io/crds"])
    crd = yaml.safe_load((ROOT / "crds/mailservertls.yaml").read_text())
    versions = {each["name"] for each in crd["spec"]["versions"]}
    assert definition["kind"] == crd["spec"]["names"]["kind"]
    assert definition["name"] == crd["metadata"]["name"]
    assert definition["version"] in versions
    assert annotations["artifacthub.io/license"] == "Apache-2.0"
    for line in yaml.safe_load(annotations["artifacthub.io/crdsExamples"]):
        assert line["kind"] == "MailServerTLS"
