"""The parts of a release that are no images: packages for pip, Helm, kubectl and krew, and the manifests."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from release.source import read_tar, write_tar
from release.versions import Refused

_PACKAGING = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a release is called, and where it is made: `source` is a copy of the tree, `output` gets the files."""

    version: str
    epoch: int
    repository: str
    homepage: str
    source: Path
    output: Path

    def file(self, name: str) -> Path:
        """Where a file of the release is written; `@` in its name stands for the version."""
        return self.output / name.replace("@", self.version)


def make_python_packages(plan: Plan) -> Path:
    """Build wheel and sdist; return the wheel."""
    _run(sys.executable, "-m", "hatchling", "build", "-d", str(plan.output), cwd=plan.source, epoch=plan.epoch)
    return plan.file("mailtls-@-py3-none-any.whl")


def make_chart(plan: Plan, helm: str) -> Path:
    """Let Helm package the chart, then pack its files anew: Helm's archive has the time of day in it."""
    chart = plan.source / "charts/mailtls"
    made = plan.source / "build"
    _run(helm, "package", str(chart), "--destination", str(made), cwd=plan.source, epoch=plan.epoch)
    target = plan.file("mailtls-@.tgz")
    write_tar(target, read_tar(made / f"mailtls-{plan.version}.tgz"), epoch=plan.epoch)
    return target


def make_manifests(plan: Plan, helm: str) -> None:
    """Render what is installed without Helm: one file with all, the definition alone, and the alert rules."""
    render = plan.source / "tests/contracts/render.py"
    environment = {"HELM": helm, "PYTHONPATH": f"{plan.source / 'operator'}:{plan.source / 'tests'}"}
    _run(sys.executable, str(render), cwd=plan.source, epoch=plan.epoch, environment=environment)
    definition = (plan.source / "crds/mailservertls.yaml").read_text(encoding="utf-8")
    operator = (plan.source / "deploy/mailtls.yaml").read_text(encoding="utf-8")
    plan.file("mailtls-@.yaml").write_text(f"{definition.rstrip()}\n---\n{operator}", encoding="utf-8")
    plan.file("mailtls-@-crd.yaml").write_text(definition, encoding="utf-8")
    alerts = (plan.source / "deploy/alerts.yaml").read_bytes()
    plan.file("mailtls-@-alerts.yaml").write_bytes(alerts)


def make_plugin(plan: Plan) -> None:
    """Pack the plugin of kubectl, and write the manifest by which krew finds the archive."""
    launcher = (_PACKAGING / "kubectl-mailtls").read_text(encoding="utf-8").replace("@VERSION@", plan.version)
    package = plan.source / "operator"
    files = {
        f"packages/{path.relative_to(package)}": path.read_bytes() for path in package.rglob("*") if path.is_file()
    }
    files |= {name: (plan.source / name).read_bytes() for name in ("LICENSE", "requirements.lock")}
    archive = plan.file("kubectl-mailtls-@.tar.gz")
    files["kubectl-mailtls"] = launcher.encode()
    write_tar(archive, files, epoch=plan.epoch, programs=frozenset({"kubectl-mailtls"}))
    filled = (_PACKAGING / "krew.yaml").read_text(encoding="utf-8")
    for word, value in (("VERSION", plan.version), ("HOMEPAGE", plan.homepage), ("SHA256", sha256(archive))):
        filled = filled.replace(f"@{word}@", value)
    plan.file("mailtls.krew.yaml").write_text(filled, encoding="utf-8")


def make_documentation(plan: Plan) -> None:
    """Pack the documentation's site of this version; unpacked beside the folders of other versions it is one more."""
    site = plan.source / "build/site"
    command = (sys.executable, "-m", "docsite", "--into", str(site), "--version", plan.version)
    environment = {"PYTHONPATH": str(plan.source / "packaging")}
    _run(*command, cwd=plan.source, epoch=plan.epoch, environment=environment)
    files = {str(path.relative_to(site)): path.read_bytes() for path in site.glob("*/**/*") if path.is_file()}
    write_tar(plan.file("mailtls-@-docs.tar.gz"), files, epoch=plan.epoch)


def write_checksums(output: Path) -> None:
    """Write SHA256SUMS over all files of the release, as `sha256sum --check` reads it."""
    names = sorted(path.name for path in output.iterdir() if path.name != "SHA256SUMS")
    lines = [f"{sha256(output / name)}  {name}\n" for name in names]
    (output / "SHA256SUMS").write_text("".join(lines), encoding="ascii")


def sha256(path: Path) -> str:
    """Return the digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _run(*command: str, cwd: Path, epoch: int, environment: dict[str, str] | None = None) -> None:
    known = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), **(environment or {})}
    done = subprocess.run(command, check=False, cwd=cwd, env=known, capture_output=True, text=True)
    if done.returncode != 0:
        raise Refused(f"{' '.join(command[:3])} failed: {(done.stderr or done.stdout).strip()[-1000:]}")
