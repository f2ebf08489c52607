"""Programs in Go, each built once by the content of its module: the mail servers that are no Debian packages."""

from __future__ import annotations

import fcntl
import tempfile
from pathlib import Path

from testbed.console import step
from testbed.golang import go_build
from testbed.layout import cache_folder
from testbed.tools import content_hash

_MODULE = Path(__file__).parent / "gomail"
_PACKAGES = ("github.com/foxcpp/maddy/cmd/maddy", "github.com/mjl-/mox")


def ensure() -> Path:
    """The folder with maddy and mox, which run in any tree; built first if they are not."""
    saying = "Go: building maddy and mox (once; about a minute on two cores)"
    return built(_MODULE, saying, "-ldflags=-s -w", *_PACKAGES, CGO_ENABLED="0")


def built(module: Path, saying: str, *arguments: str, **environment: str) -> Path:
    """The folder with programs of a Go module, by its content; they are built first if they are not, as it is said."""
    folder = cache_folder() / module.name
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / content_hash(module)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with step(saying):
                _build(module, target, arguments, environment)
    return target


def _build(module: Path, target: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
    """Build beside the target and rename: there is never half of it."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as name:
        made = Path(name) / "bin"
        made.mkdir()
        go_build(module, f"-o={made}/", *arguments, **environment)
        made.rename(target)
