"""The commands that a person types at a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from testbed.layout import project_folder

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.installation import Installation


def mailtls(installation: Installation, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command as a user of the installation's namespace does."""
    return as_person(installation.sandbox.cluster.layout.kubeconfig, installation, *arguments, given=given)


def as_person(
    kubeconfig: Path, installation: Installation, *arguments: str, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command with somebody's kubeconfig."""
    place = ("--kubeconfig", str(kubeconfig), "-n", installation.sandbox.name)
    environment = {**os.environ, "PYTHONPATH": str(project_folder() / "operator")}
    command = [sys.executable, "-m", "mailtls", *arguments, *place]
    return subprocess.run(
        command, input=given, capture_output=True, text=True, env=environment, timeout=300, check=False
    )
