"""What other tools make of a resource, by their own code: kstatus (Flux, kpt), a health check of Argo CD, Flux.

The versions of Kubernetes' libraries are those of the testbed's Kubernetes, which then are compiled already.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.gomail import built

if TYPE_CHECKING:
    from collections.abc import Iterable

MODULES = tuple(Path(__file__).parent / name for name in ("gohealth", "goflux"))
_HEALTH, _FLUX = MODULES


def kstatus(objects: Iterable[Any]) -> list[dict[str, str]]:
    """Status and message that kstatus computes for each object: InProgress, Failed, Current or Terminating."""
    return _run(objects)


def argo_cd(objects: Iterable[Any], script: Path) -> list[dict[str, str]]:
    """Status and message that a health check in Lua returns for each object, in Argo CD's interpreter."""
    return _run(objects, str(script))


def flux(objects: Iterable[Any], kubeconfig: Path, seconds: int) -> list[str]:
    """Wait for each object of a cluster as Flux does, for so long at most; its error, empty where there is none."""
    answers = _answers(_flux(), objects, str(kubeconfig), f"{seconds}s", within=seconds + 60)
    return [each["failure"] for each in answers]


def flux_apply(objects: Iterable[Any], kubeconfig: Path) -> dict[str, str]:
    """Apply objects to a cluster as a Kustomization of Flux does; by kind what it did, such as `configured`."""
    done = _answers(_flux(), objects, str(kubeconfig), "apply", within=120)
    return {each["subject"].partition("/")[0]: each["action"] for each in done}


def _flux() -> Path:
    return built(_FLUX, "Go: building what Flux applies and waits with (once)", "-ldflags=-s -w", ".") / "flux"


def _run(objects: Iterable[Any], *arguments: str) -> list[dict[str, str]]:
    program = built(_HEALTH, "Go: building kstatus (once)", "-ldflags=-s -w", ".") / "health"
    return _answers(program, objects, *arguments)


def _answers(program: Path, objects: Iterable[Any], *arguments: str, within: float = 60) -> list[dict[str, str]]:
    given = "\n".join(json.dumps(each) for each in objects)
    done = subprocess.run(
        [program, *arguments], input=given, capture_output=True, text=True, check=False, timeout=within
    )
    if done.returncode != 0:
        message = f"{program.name} failed: {done.stderr}"
        raise AssertionError(message)
    return [json.loads(line) for line in done.stdout.splitlines()]
