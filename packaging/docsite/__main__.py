"""`python -m docsite`: build the documentation's site, strictly, into the folder of its version; `serve` to read it."""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from docsite.navigation import Unlisted, expand
from docsite.pages import BrokenLink, Tree, asset, on_site
from docsite.versions import folder_of, write_list

ROOT = Path(__file__).resolve().parents[2]
_HERE = Path(__file__).parent
_SHOWN = ("*.yaml", "*.sh")  # files of an example that its page shows


class Refused(Exception):
    """The site cannot be built as it should; the message is what the builder said."""


def main(arguments: list[str] | None = None) -> int:
    """Build, or serve what was built."""
    options = _parser().parse_args(arguments)
    if options.command == "serve":
        return serve(Path(options.into), options.port)
    try:
        folders = build(ROOT, Path(options.into), options.version)
    except (BrokenLink, Unlisted, Refused) as why:
        print(f"docs: {why}", file=sys.stderr)
        return 1
    print(f"docs: {options.into}/{folder_of(options.version)}; versions: {', '.join(folders)}")
    return 0


def build(root: Path, site: Path, version: str) -> list[str]:
    """Build a version beside the others in `site`; gives all of them, the newest first. Nothing else there changes."""
    site.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=site, prefix=".build-") as work:
        stage(root, Path(work))
        _run(Path(work))
        folder = site / folder_of(version)
        shutil.rmtree(folder, ignore_errors=True)
        (Path(work) / "site").rename(folder)
    return write_list(site)


def stage(root: Path, work: Path) -> None:
    """Lay out what the builder reads: pages with the site's links, the files that they lead to, and its settings."""
    tree = Tree.of(_files(root))
    docs = work / "docs"
    used = {each for each in tree.files if each.startswith("docs/") and each not in tree.pages}
    for path, place in tree.pages.items():
        if path == "README.md" and "docs/README.md" in tree.pages:
            continue  # one page is the site's first
        text = on_site(path, (root / path).read_text(encoding="utf-8"), tree, used.add)
        _write(docs / place, text + _shown(root, path))
    for path in used:
        (docs / asset(path)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, docs / asset(path))
    shutil.copytree(_HERE / "theme", docs / "theme")
    navigation = yaml.safe_load((_HERE / "navigation.yml").read_text(encoding="utf-8"))
    nav = yaml.safe_dump({"nav": expand(navigation, tree.pages.values())}, sort_keys=False)
    _write(work / "mkdocs.yml", (_HERE / "settings.yml").read_text(encoding="utf-8") + nav)


def _files(root: Path) -> list[str]:
    """List what Git knows or would add; a copy of the tree, such as that of a release, is taken whole."""
    if not (root / ".git").exists():
        return [str(each.relative_to(root)) for each in root.rglob("*") if each.is_file()]
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [each for each in listed.split("\0") if each and (root / each).is_file()]


def _shown(root: Path, path: str) -> str:
    """Return the files of an example as text, for its page."""
    if not (path.startswith("examples/") and path.count("/") > 1):
        return ""
    files = sorted(each for pattern in _SHOWN for each in (root / path).parent.glob(pattern))
    kinds = {".yaml": "yaml", ".sh": "sh"}
    return "".join(f"\n## {each.name}\n\n```{kinds[each.suffix]}\n{each.read_text('utf-8')}```\n" for each in files)


def _run(work: Path) -> None:
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", "mkdocs.yml"]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(done.stdout + done.stderr)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def serve(site: Path, port: int) -> int:
    """Serve the site on loopback until it is interrupted."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    print(f"docs: http://127.0.0.1:{port}/")
    with contextlib.suppress(KeyboardInterrupt):
        http.server.ThreadingHTTPServer(("127.0.0.1", port), handler).serve_forever()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="docsite", description=__doc__)
    parser.add_argument("command", nargs="?", choices=["build", "serve"], default="build")
    parser.add_argument("--into", default="build/site", help="the site, with a folder for each version")
    parser.add_argument("--version", default="dev", help="what is built: 0.1.3 goes into the folder 0.1")
    parser.add_argument("--port", type=int, default=8000, help="of `serve`, on loopback")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
