"""A reader of the documentation at the cluster: the commands are typed as they are printed, in a shell of theirs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

from testbed.layout import NODE_ADDRESS, project_folder

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.sandbox import Sandbox
    from testbed.zones import Zone

_PATIENCE = 240
_CRON = re.compile(r"^\d+ \d+ \* \* \*\s+")


@dataclass
class Reader:
    """Someone with kubectl, its plug-in, Helm and mailtls, who trusts `roots`, and whose resolver knows the zone.

    They stand in `folder`. `mail` and `mailtls` are the sandbox; `helm_values` are what an installation needs here.
    """

    sandbox: Sandbox
    zone: Zone
    folder: Path
    roots: str
    helm_values: Path | None = None
    _environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Put the programs and a kubeconfig of the namespace where a shell finds them."""
        programs = self.folder / "bin"
        programs.mkdir(parents=True)
        (self.folder / "roots.pem").write_text(self.roots, encoding="utf-8")
        given = f"--resolver {NODE_ADDRESS} --ca-file {self.folder / 'roots.pem'}"
        run = f'exec {sys.executable} -m mailtls "$@"'
        _program(programs / "mailtls", f'[ "$1" = probe ] && set -- "$@" {given}\n{run}')
        _program(programs / "kubectl-mailtls", run)
        values = f"--values {self.helm_values} --set image.repository=localhost/mailtls --set image.tag=dev"
        trial = '[ -z "${TRIAL:-}" ] || set -- "$@" --dry-run=server'
        _program(
            programs / "helm",
            f'case $1 in install|upgrade) set -- "$@" {values} --set crds.enabled=false\n{trial};; esac\n'
            f'exec {shutil.which("helm") or "helm"} "$@"',
        )
        _program(programs / "kubectl", f'{trial}\nexec {shutil.which("kubectl") or "kubectl"} "$@"')
        (self.folder / "kubeconfig").touch(mode=0o600)
        (self.folder / "kubeconfig").write_text(self._kubeconfig(), encoding="utf-8")
        self._environment = {
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(project_folder() / "operator"),
            "KUBECONFIG": str(self.folder / "kubeconfig"),
        }

    def _kubeconfig(self) -> str:
        config = yaml.safe_load(self.sandbox.cluster.layout.kubeconfig.read_text("utf-8"))
        for context in config["contexts"]:
            context["context"]["namespace"] = self.sandbox.name
        return str(yaml.safe_dump(config))

    def type(self, command: str, *, before: str = "true", is_trial: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command, with the reader's names in it; a watch is stopped after a while, with exit code 124."""
        typed = self.local(_CRON.sub("", command))
        if command.endswith(" -w"):
            typed = f"timeout 10 {typed}"
        return subprocess.run(
            ["bash", "-uo", "pipefail", "-c", f"{self.local(before)} || exit 99\n{typed}"],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env={**self._environment, "TRIAL": "1" if is_trial else ""},
            timeout=_PATIENCE,
            check=False,
        )

    def local(self, text: str) -> str:
        """A text with this reader's domain, namespaces and folders; all namespaces are the reader's own."""
        place = self.sandbox.name
        text = text.replace("example.com", self.zone.name)
        text = re.sub(r"(-n|--namespace|namespace:) mail(tls)?\b(?!\.)", rf"\1 {place}", text)
        text = re.sub(r"--all-namespaces|(?<=secrets )-A", f"-n {place}", text)
        return re.sub(r"/(etc/letsencrypt|var/lib/node_exporter)/", f"{self.folder}/", text)

    def as_printed(self, screen: str) -> str:
        """What a screen would show with the names of the documentation."""
        return screen.replace(self.zone.name, "example.com").replace(self.sandbox.name, "mail")


def _program(file: Path, script: str) -> None:
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    file.chmod(0o755)
