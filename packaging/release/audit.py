"""`python -m release.audit LOCK ...`: compare locked packages with the known vulnerabilities, or say that nobody could.

It runs the pip-audit that is installed beside this Python, and takes no silence for an answer. A service that knows no
advisories at all, as most mirrors of PyPI, answers as one that knows of no vulnerability. So it is first asked about a
release that is vulnerable for certain. Standard library only: it runs in the environment of pip-audit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

VULNERABLE: Final = (
    "cryptography",
    "41.0.0",
)  # CVE-2023-38325 and CVE-2023-49083, in every database of PyPI's packages
PYPI: Final = "https://pypi.org"
_HINT: Final = "make audit ADVISORIES=https://api.osv.dev/v1/query, or an OSV API of yours that has those of PyPI"
_PATIENCE: Final = 600.0  # seconds for all packages of one file


class Unknown(Exception):
    """Whether there are vulnerabilities could not be found out; the message says why."""


def audited(lock: Path, service: str, program: str) -> list[dict[str, Any]]:
    """Let pip-audit ask about all packages that a file pins: for each its name, version and vulnerabilities.

    Raises:
        Unknown: The service did not answer, or does not know one of the packages.
    """
    asked = [] if service == PYPI else ["--vulnerability-service=osv", f"--osv-url={service}"]
    command = [
        program, *asked, "--format=json", "--progress-spinner=off", "--disable-pip", "--no-deps",
        f"--requirement={lock}",
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_PATIENCE)
    return read(done.stdout, done.stderr, service)


def read(output: str, complaints: str, service: str) -> list[dict[str, Any]]:
    """Read what pip-audit printed: its JSON, or the last line of what went wrong."""
    try:
        packages: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError) as why:
        last = (complaints.strip() or "pip-audit printed nothing").splitlines()[-1]
        raise Unknown(f"pip-audit could not ask {service}: {last}") from why
    if skipped := [each["name"] for each in packages if "skip_reason" in each]:
        raise Unknown(
            f"{service} does not know {', '.join(skipped)}, so nobody can say whether that is safe. Try {_HINT}"
        )
    return packages


def prove_that_it_finds(service: str, program: str) -> None:
    """Ask about a release that is vulnerable for certain.

    Raises:
        Unknown: The service knows nothing of it.
    """
    name, version = VULNERABLE
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder, "vulnerable.txt")
        pinned.write_text(f"{name}=={version}\n", encoding="ascii")
        packages = audited(pinned, service, program)
    if not any(each["vulns"] for each in packages):
        raise Unknown(
            f"{service} has no advisory of {name} {version}, which is vulnerable: it would find nothing anywhere. "
            f"Try {_HINT}"
        )


def findings(lock: str, packages: list[dict[str, Any]]) -> list[str]:
    """Say for each vulnerability which package has it, and which version has it no more."""
    return [
        f"{lock}: {each['name']} {each['version']} has {found['id']}, "
        + (f"fixed in {' and '.join(found['fix_versions'])}" if found["fix_versions"] else "not fixed in any version")
        for each in packages
        for found in each["vulns"]
    ]


def main(arguments: list[str] | None = None) -> int:
    """Return 0 where nothing is vulnerable, 1 where something is, and 2 where nobody could say."""
    parser = argparse.ArgumentParser(prog="audit", description=__doc__)
    parser.add_argument("--advisories", default=PYPI, help="another service than PyPI: the query address of an OSV API")
    parser.add_argument("--pip-audit", default=str(Path(sys.executable).with_name("pip-audit")))
    parser.add_argument("locks", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    try:
        prove_that_it_finds(options.advisories, options.pip_audit)
        asked = {lock: audited(lock, options.advisories, options.pip_audit) for lock in options.locks}
    except (Unknown, OSError, subprocess.TimeoutExpired) as why:
        print(f"audit: {why}", file=sys.stderr)
        return 2
    found = [line for lock, packages in asked.items() for line in findings(lock.name, packages)]
    for line in found:
        print(f"audit: {line}", file=sys.stderr)
    if not found:
        counted = ", ".join(f"{lock.name} ({len(packages)})" for lock, packages in asked.items())
        print(f"No known vulnerability in the packages of {counted}, says {options.advisories}.")
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
