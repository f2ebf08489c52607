"""Under which licences the dependencies are, and which of them may be shipped beside the Apache License 2.0."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# MPL-2.0 is copyleft for its own files only, which are shipped unchanged.
ALLOWED = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0", "Unlicense"}
)
_BY_OTHER_NAME = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd 2-clause license": "BSD-2-Clause",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
}
# Said in their licence files only: which BSD licence, and that axe-core, which is in its package, has another one.
_READ_BY_US = {"axe-playwright-python": "MIT AND MPL-2.0", "cronsim": "BSD-3-Clause", "jinja2": "BSD-3-Clause"}
_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(?: ; (.*?))? \\$", re.MULTILINE)
_WINDOWS_ONLY = "sys_platform == 'win32'"


@dataclass(frozen=True, slots=True)
class Dependency:
    """A package of the lock, as installed on Linux; the licence is an SPDX expression, or what is said instead."""

    name: str
    version: str
    licence: str


def dependencies(lock: Path) -> list[Dependency]:
    """Read the packages of a lock, with the licences that the installed ones declare; Windows' own are left out."""
    locked = _LOCKED.findall(lock.read_text(encoding="utf-8"))
    return [Dependency(name, version, _licence(name)) for name, version, marker in locked if marker != _WINDOWS_ONLY]


def refused(found: list[Dependency]) -> list[Dependency]:
    """Return the packages whose licence is not on the list, or not known."""
    return [each for each in found if not is_allowed(each.licence)]


def is_allowed(expression: str) -> bool:
    """Judge an SPDX expression: one of alternatives is enough, of joined licences each must be allowed."""
    alternatives = re.split(r"\s+OR\s+", expression.replace("(", "").replace(")", ""))
    return any(all(each in ALLOWED for each in re.split(r"\s+AND\s+", one)) for one in alternatives)


def _licence(name: str) -> str:
    try:
        said = metadata.metadata(name).json
    except metadata.PackageNotFoundError:
        return "not installed"
    if expression := said.get("license_expression"):
        return str(expression)
    if name in _READ_BY_US:
        return _READ_BY_US[name]
    classifiers = [each.rpartition(" :: ")[2] for each in said.get("classifier", ()) if "License ::" in each]
    own_words = str(said.get("license") or "")
    for word in (own_words, *classifiers):
        known = _BY_OTHER_NAME.get(word.strip().lower(), word.strip())
        if known in ALLOWED:
            return known
    return (own_words or ", ".join(classifiers) or "none").splitlines()[0][:60]
