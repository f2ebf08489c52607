"""A page of the documentation, followed as a reader does: its commands are run as printed, its manifests applied.

A reader replaces names: here the namespace, the domain and the folders that only one machine has.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from contracts.snippets import page_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from e2e.installation import Installation

_HEADING = re.compile(r"(?m)^##+ (?P<title>.*)$")
_BLOCK = re.compile(r"(?ms)^```(?P<kind>sh|yaml)\n(?P<text>.*?)^```$")
_FILE = re.compile(r"# (?P<name>\S+\.yaml)\n")
_PATIENCE = 240.0


@dataclass
class Page:
    """One page in one test's namespace; `folder` is where the reader stands."""

    installation: Installation
    name: str
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, Path] = field(default_factory=dict)
    """What is bound over a folder of the machine while a command runs, such as /etc/letsencrypt."""
    _sections: dict[str, list[tuple[str, str]]] = field(init=False)
    _followed: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        """Read the page, with the reader's names in it."""
        text = page_text(self.name)
        titles = [*_HEADING.finditer(text)]
        ends = [*(each.start() for each in titles[1:]), len(text)]
        self._sections = {
            title["title"]: [(block["kind"], block["text"]) for block in _BLOCK.finditer(text, title.end(), end)]
            for title, end in zip(titles, ends, strict=True)
        }

    def follow(self, title: str) -> str:
        """Do what a section says, from top to bottom; gives what its commands printed."""
        self._followed.add(title)
        return "".join(self._do(kind, self._local(text)) for kind, text in self._sections[title])

    def expect_all_followed(self, *elsewhere: str) -> None:
        """Every section with a command was followed, but those that another test follows."""
        with_commands = {title for title, blocks in self._sections.items() if any(kind == "sh" for kind, _ in blocks)}
        assert with_commands <= self._followed | set(elsewhere)

    def _do(self, kind: str, text: str) -> str:
        if kind == "sh":
            return self.run(text)
        named = _FILE.match(text)
        if named:
            (self.folder / named["name"]).write_text(text, encoding="utf-8")
        elif "\nkind: MailServerTLS\n" not in text:
            self.installation.sandbox.apply(text)
        return ""

    def run(self, command: str) -> str:
        """Run a command of the reader's."""
        places = [place for target, source in self.mounts.items() for place in (str(source), target)]
        bind = 'while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done; shift; exec "$@"'
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-ec", bind, "sh", *places, "--", "bash", "-euo", "pipefail", "-c", command],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, **self.environment},
            timeout=_PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _local(self, text: str) -> str:
        text = text.replace("example.com", self.installation.zone.name)
        return re.sub(r"(namespace:? )mail\b", rf"\g<1>{self.installation.sandbox.name}", text)
