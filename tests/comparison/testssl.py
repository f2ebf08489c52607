"""Runs testssl.sh, which takes half a minute for a service, and keeps what it said: a run that is cut short goes on."""

import csv
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from comparison.tools import Said, bracketed
from mailservers.case import Case
from mailservers.certificates import HOST
from mailtls.probe.target import Depth, TlsMode
from testbed import trees

PATIENCE = 600  # seconds; it asks hundreds of times, for half a minute on a quiet machine
_ALARMS = frozenset({"MEDIUM", "HIGH", "CRITICAL", "FATAL"})
# What is true of all certificates of the tests' authority, and of Debian's OpenSSL, and no fault of a server.
_OF_THE_TESTS = frozenset({"cert_revocation", "engine_problem"})
_TROUBLE = ("Oops", "Fatal error", "Can't connect", "bash:")  # what it only prints
_GAVE_UP = frozenset({"scanProblem", "optimal_proto"})  # the checks that follow were left out, a warning or not
_FATAL = 242  # its exit codes from here on are for runs that it gave up
_CHECKS = {
    Depth.QUICK: ["--protocols", "--server-defaults"],
    Depth.FULL: ["--protocols", "--server-defaults", "--std"],
    Depth.DEEP: ["--protocols", "--server-defaults", "--std", "--starttls-injection"],
}


def testssl(case: Case, where: tuple[str, int], roots: Path) -> Said:
    """Run it on what could notice the faults of the cases, as deep as the case wants it of a probe."""
    address, port = where
    with tempfile.TemporaryDirectory(prefix="testssl-", dir="/tmp") as folder:
        report = Path(folder) / "report.csv"
        command = ["testssl", "--quiet", "--color", "0", "--warnings", "batch", "--connect-timeout", "5"]
        command += ["--openssl-timeout", "5", "--add-ca", str(roots), "--ip", bracketed(address), "--nodns", "none"]
        command += ["--csvfile", str(report), *_CHECKS[case.depth], *(["-6"] if ":" in address else [])]
        if case.tls is TlsMode.START_TLS:
            command += ["--starttls", str(case.protocol)]
        code, printed = _run(trees.inside(trees.ensure(trees.SERVERS), [*command, f"{HOST}:{port}"]))
        return heard(report.read_text(encoding="utf-8") if report.exists() else "", printed, gave_up=code >= _FATAL)


def version() -> str:
    """Which testssl.sh it is, as its banner says."""
    command = trees.inside(trees.ensure(trees.SERVERS), ["testssl", "--banner"])
    banner = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE).stdout
    found = re.search(r"version .*?(\d+\.[\d.]+)", banner)
    return found[1] if found else "?"


def heard(report: str, printed: str, *, gave_up: bool) -> Said:
    """Take all that it said, whatever weight it gave it; an alarm is what it calls MEDIUM or worse, or giving up."""
    findings = [row for row in csv.DictReader(report.splitlines()) if _is_of_the_server(row)]
    said = [f"{one['id']} {one['severity']} {one['finding']}" for one in findings]
    trouble = [line.strip() for line in printed.splitlines() if any(word in line for word in _TROUBLE)]
    alarms = [one for one in findings if one["severity"] in _ALARMS or one["id"] in _GAVE_UP]
    return Said("\n".join([*said, *trouble]), gave_up or bool(alarms))


def _is_of_the_server(row: dict[str, str]) -> bool:
    whole = None not in row.values()  # the last line of a run that was ended may be cut
    return whole and row["id"].split(" ")[0] not in _OF_THE_TESTS and "BEGIN CERTIFICATE" not in row["finding"]


def _run(command: list[str]) -> tuple[int, str]:
    """Run it, and end it with all that it started when its time is up; a run that is ended gave up."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        printed, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        printed, _ = process.communicate()
        return _FATAL, f"{printed.decode(errors='replace')}\nOops: no end in {PATIENCE} seconds"
    return process.returncode, printed.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Kept:
    """What testssl.sh said of each case, in a folder."""

    folder: Path

    def forget(self) -> None:
        """Begin anew."""
        for file in self.folder.glob("*.json"):
            file.unlink()

    def keep(self, server: str, name: str, said: Said) -> None:
        """Write what it said of a case."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file(server, name).write_text(json.dumps(asdict(said)), encoding="utf-8")

    def said(self, server: str, name: str) -> Said:
        """Read what it said of a case."""
        return Said(**json.loads(self._file(server, name).read_text(encoding="utf-8")))

    def ahead(self, server: str, names: Iterable[str]) -> list[str]:
        """The cases that it has not been asked about."""
        return [name for name in names if not self._file(server, name).exists()]

    def _file(self, server: str, name: str) -> Path:
        return self.folder / f"{server.replace(' ', '-')}.{name}.json"
