"""Which Kubernetes the cluster is of: the newest, or one of the older minor versions that are tested on demand."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from testbed.console import Trouble
from testbed.layout import KUBERNETES

# The newest Kubernetes, with Helm and Pebble, which are the same for all.
MODULE = Path(__file__).parent / "go"
# For each older minor version a go.mod and a go.sum, which pin it and all that it takes.
OLDER = Path(__file__).parent / "versions"
_PROGRAM = "./kubernetes"


@dataclass(frozen=True, slots=True)
class Release:
    """One release of Kubernetes: its version, as `1.37.2`, and the go.mod that pins it."""

    version: str
    pins: Path

    @property
    def minor(self) -> str:
        """What people call it: `1.37`."""
        return self.version.rpartition(".")[0]

    @property
    def is_newest(self) -> bool:
        """Whether it is the one that everything runs on unless another is named."""
        return self.pins.parent == MODULE

    @property
    def sources(self) -> tuple[Path, ...]:
        """Every file or folder that says what its programs, Helm's and Pebble's are made from."""
        return (MODULE,) if self.is_newest else (MODULE, self.pins, self.pins.with_suffix(".sum"))

    @property
    def program(self) -> tuple[str, ...]:
        """The arguments of `go build`, in `MODULE`, for the program that is all of its parts."""
        return (_PROGRAM,) if self.is_newest else (f"-modfile={self.pins}", _PROGRAM)

    @property
    def stamp(self) -> dict[str, str]:
        """What Kubernetes' own build writes into its programs; its clients check it."""
        major, minor, _ = self.version.split(".")
        return {"gitVersion": f"v{self.version}", "gitMajor": major, "gitMinor": minor}


def releases() -> dict[str, Release]:
    """All that can be built, by minor version, the newest first."""
    found = [_release(pins) for pins in (MODULE / "go.mod", *OLDER.glob("*.mod"))]
    found.sort(key=lambda release: [int(number) for number in release.version.split(".")], reverse=True)
    return {release.minor: release for release in found}


def chosen() -> Release:
    """The one that the environment names, else the newest; raises Trouble for one that there is not."""
    known = releases()
    wanted = os.environ.get(KUBERNETES) or next(iter(known))
    if wanted not in known:
        message = f"Kubernetes {wanted} is none of those that can be built: {', '.join(known)}"
        raise Trouble(message)
    return known[wanted]


def _release(pins: Path) -> Release:
    found = re.search(r"k8s\.io/kubernetes v(\d+\.\d+\.\d+)\b", pins.read_text(encoding="utf-8"))
    if found is None:
        message = f"{pins} names no version of Kubernetes"
        raise Trouble(message)
    return Release(found[1], pins)
