"""The mail servers that are no Debian packages, built once by the content of their Go module."""

from __future__ import annotations

import fcntl
import tempfile
from pathlib import Path

from testbed.console import step
from testbed.layout import cache_folder
from testbed.tools import content_hash, go_build

_MODULE = Path(__file__).parent / "gomail"
_PACKAGES = ("github.com/foxcpp/maddy/cmd/maddy", "github.com/mjl-/mox")


def ensure() -> Path:
    """The folder with maddy and mox, which run in any tree; built first if they are not."""
    folder = cache_folder() / "gomail"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / content_hash(_MODULE)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with step("Go: building maddy and mox (once; about a minute on two cores)"):
                _build(target)
    return target


def _build(target: Path) -> None:
    """Build beside the target and rename: there is never half of it."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as name:
        made = Path(name) / "bin"
        made.mkdir()
        go_build(_MODULE, "-ldflags=-s -w", f"-o={made}/", *_PACKAGES, CGO_ENABLED="0")
        made.rename(target)
