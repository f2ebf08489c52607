"""What other tools make of a resource, by their own code: kstatus (Flux, kpt), and a health check of Argo CD.

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

_MODULE = Path(__file__).parent / "gohealth"


def kstatus(objects: Iterable[Any]) -> list[dict[str, str]]:
    """Status and message that kstatus computes for each object: InProgress, Failed, Current or Terminating."""
    return _run(objects)


def argo_cd(objects: Iterable[Any], script: Path) -> list[dict[str, str]]:
    """Status and message that a health check in Lua returns for each object, in Argo CD's interpreter."""
    return _run(objects, str(script))


def _run(objects: Iterable[Any], *arguments: str) -> list[dict[str, str]]:
    program = built(_MODULE, "Go: building kstatus (once)", "-ldflags=-s -w", ".") / "health"
    given = "\n".join(json.dumps(each) for each in objects)
    done = subprocess.run([program, *arguments], input=given, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        message = f"health failed: {done.stderr}"
        raise AssertionError(message)
    return [json.loads(line) for line in done.stdout.splitlines()]
