"""`python -m release`: make everything of a release in one folder, or say why it must not be made."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from release import artefacts, images
from release.licences import dependencies, refused
from release.sbom import bill_of_materials
from release.source import copy_source, name_image
from release.versions import Refused, changelog_section, disagreements, epoch_of, git, version_of

ROOT = Path(__file__).resolve().parents[2]
_SNAPSHOT = "has changes that are not committed: nobody could make this release again (--snapshot makes one to look at)"


def main(arguments: list[str] | None = None) -> int:
    """Make the release; what must not be released is one sentence on the screen."""
    options = _parser().parse_args(arguments)
    try:
        found = obstacles(ROOT, tag=options.tag, snapshot=options.snapshot)
        if not found:
            make(ROOT, options)
    except Refused as why:
        found = [str(why)]
    for each in found:
        print(f"release: {each}", file=sys.stderr)
    return int(bool(found))


def make(root: Path, options: argparse.Namespace) -> None:
    """Make all parts in a folder of their own and put it in place when it is whole."""
    version = version_of(root)
    output = Path(options.output).resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".release-") as work:
        source, made = Path(work, "source"), Path(work, "made")
        made.mkdir()
        copy_source(root, source)
        name_image(source, repository=options.repository, version=version, homepage=options.homepage)
        plan = artefacts.Plan(version, epoch_of(root), options.repository, options.homepage, source, made)
        _make_parts(plan, options)
        artefacts.write_checksums(made)
        shutil.rmtree(output, ignore_errors=True)
        made.rename(output)
    print((output / "SHA256SUMS").read_text(encoding="ascii"), end="")


def _make_parts(plan: artefacts.Plan, options: argparse.Namespace) -> None:
    wheel = artefacts.make_python_packages(plan)
    artefacts.make_chart(plan, options.helm)
    artefacts.make_manifests(plan, options.helm)
    artefacts.make_plugin(plan)
    artefacts.make_documentation(plan)
    base = images.make(plan, options.architectures, options.base) if options.architectures else None
    shipped = dependencies(plan.source / "requirements.lock")
    materials = bill_of_materials(
        plan.version, shipped, wheel=wheel, base=base, epoch=plan.epoch, homepage=plan.homepage
    )
    plan.file("mailtls-@.spdx.json").write_text(materials, encoding="utf-8")
    section = changelog_section(plan.source, plan.version, tagged=options.tag is not None)
    plan.file("CHANGES-@.md").write_text(section, encoding="utf-8")


def obstacles(root: Path, *, tag: str | None, snapshot: bool) -> list[str]:
    """Say why this tree must not be released, a sentence for each reason; a snapshot may be of uncommitted changes."""
    version = version_of(root)
    wrong = disagreements(root)
    wrong += [f"{each.name} is under {each.licence}" for each in refused(dependencies(root / "requirements.lock"))]
    if tag not in (None, f"v{version}"):
        wrong.append(f"the tag is {tag}, and the package is {version}")
    if not snapshot and git(root, "status", "--porcelain"):
        wrong.append(f"the tree {_SNAPSHOT}")
    return wrong


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="release", description=__doc__)
    parser.add_argument("--output", default="dist", help="the folder; what it had before is removed")
    parser.add_argument("--repository", default="localhost/mailtls", help="where the image will be published")
    parser.add_argument("--homepage", default="https://forge.example.com/mailtls", help="where releases are published")
    parser.add_argument("--tag", help="the tag that is released, v1.2.3: the changelog then needs its heading and date")
    parser.add_argument(
        "--base", help="another base image than the Dockerfile's; `debian`: made from Debian's packages"
    )
    parser.add_argument("--architectures", nargs="*", default=["amd64", "arm64"], help="of the images; none: no images")
    parser.add_argument("--helm", default="helm")
    parser.add_argument("--snapshot", action="store_true", help="release what is not committed, to look at")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
