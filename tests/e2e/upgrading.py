"""The release of the chart that is upgraded, and a picture of all that an upgrade has to leave as it is."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from contracts.snippets import page_text
from e2e.installation import CONDITIONS
from testbed.layout import project_folder
from testbed.sandbox import MAIL_SERVER_TLS, condition_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from e2e.installation import Installation
    from testbed.api import Object

HOME = "mailtls"
RELOADED = "reload -- version"  # in Postfix's log
_BLOCK = re.compile(r"(?ms)^##+ (?P<title>[^\n]+)\n(?:(?!^##+ ).)*?^```console\n(?P<commands>.*?)^```$")
_PATIENCE = 240.0


@dataclass
class Release:
    """The operator as the documentation installs it: `mailtls` in the namespace `mailtls`."""

    folder: Path
    """Where a reader keeps `my-values.yaml`, or an overlay."""
    place: Path = field(default_factory=project_folder)
    """Where the reader types commands."""

    def stand_in(self, place: Path) -> None:
        """Go to the files of another version."""
        self.place = place

    def write_values(self, values: Mapping[str, Any]) -> None:
        """Write the reader's values."""
        (self.folder / "my-values.yaml").write_text(yaml.safe_dump(dict(values)), encoding="utf-8")

    def run(self, *said: str) -> None:
        """Run commands of a page as they are printed."""
        for command in said:
            self._run(command)

    def _run(self, command: str) -> None:
        text = command.replace("my-values.yaml", str(self.folder / "my-values.yaml"))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.place,
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        print(f"$ {text}\n{done.stdout}")


def commands(page: str, title: str) -> list[str]:
    """The commands that a section of a page shows."""
    found = next(block for block in _BLOCK.finditer(page_text(page)) if block["title"] == title)
    return found["commands"].strip().splitlines()


@dataclass(frozen=True)
class Picture:
    """What an upgrade leaves as it is, of resources that are Ready and of the pods that serve their certificates."""

    orders: int
    accounts: int
    secrets: Mapping[str, Mapping[str, bytes]]
    conditions: Mapping[str, tuple[str, str]]  # status, and since when
    statuses: Mapping[str, Object]
    pods: Mapping[str, tuple[str, int, int, Mapping[str, str]]]  # uid, restarts, reloads, our annotations
    templates: Mapping[str, int]  # generation of each workload

    @classmethod
    def of(cls, installation: Installation, resources: Sequence[str]) -> Picture:
        """Look at these resources, at all Secrets that hold a certificate, and at all pods and workloads."""
        sandbox = installation.sandbox
        seen = {name: installation.get(name) for name in resources}
        secrets = [each["metadata"]["name"] for each in sandbox.objects("secrets")]
        workloads = [*sandbox.objects("statefulsets.apps"), *sandbox.objects("deployments.apps")]
        kept = ("certificate", "history", "served", "endpointsServed", "endpointsTotal")
        return cls(
            installation.pebble.orders(),
            installation.pebble.accounts(),
            {name: sandbox.secret(name) for name in secrets if "-tls" in name},
            {f"{name} {kind}": _condition(seen[name], kind) for name in resources for kind in CONDITIONS},
            {name: {field: each["status"].get(field) for field in kept} for name, each in seen.items()},
            {pod["metadata"]["name"]: _pod(installation, pod) for pod in sandbox.objects("pods")},
            {each["metadata"]["name"]: each["metadata"]["generation"] for each in workloads},
        )


def _condition(seen: Object, kind: str) -> tuple[str, str]:
    found = condition_of(seen, kind)
    assert found is not None, (kind, seen["status"])
    return found["status"], found["lastTransitionTime"]


def _pod(installation: Installation, pod: Object) -> tuple[str, int, int, Mapping[str, str]]:
    meta = pod["metadata"]
    ours = {name: value for name, value in meta.get("annotations", {}).items() if name.startswith("mailtls.dev/")}
    restarts = sum(each["restartCount"] for each in pod["status"]["containerStatuses"])
    return meta["uid"], restarts, installation.sandbox.logs(meta["name"]).count(RELOADED), ours


def await_probed(installation: Installation, name: str, request: str) -> None:
    """Request a probe, and wait until it was handled: whoever handles it has read the resource and its pods."""
    installation.sandbox.annotate(MAIL_SERVER_TLS, name, mailtls_dev__probe=request)
    installation.sandbox.wait_for(
        MAIL_SERVER_TLS,
        name,
        lambda seen: bool(seen and seen["status"].get("lastHandledProbe") == request),
    )
