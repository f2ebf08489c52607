"""`make audit`: a service that knows nothing must not pass for packages without vulnerabilities."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from release import audit
from testbed.bootstrap import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(f"{environment()}-audit/bin/pip-audit")
LOCK = "idna==3.6\ncertifi==2026.10.18\n"
KNOWN = {
    "cryptography 41.0.0": ("PYSEC-2023-254", "cryptography", ["41.0.6"]),
    "idna 3.6": ("PYSEC-2024-60", "idna", ["3.7"]),
}
# What `pip-audit --format=json` 2.10.1 prints, by what it is asked about.
CONTROL = {"dependencies": [{"name": "cryptography", "version": "41.0.0", "vulns": [{"id": "A", "fix_versions": []}]}]}


def of_lock(**package: object) -> dict[str, object]:
    """The answer for one package of the lock."""
    return {"dependencies": [package], "fixes": []}


def a_pip_audit(folder: Path, control: object, lock: object) -> str:
    """A program that prints what pip-audit was seen to print, of the control and of the lock."""
    program = folder / "pip-audit"
    answers = {True: control, False: lock}
    said = {key: each if isinstance(each, str) else json.dumps(each) for key, each in answers.items()}
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsaid = {said!r}['vulnerable.txt' in sys.argv[-1]]\n"
        "print(said, file=sys.stdout if said[:1] == '{' else sys.stderr)\n"
    )
    program.chmod(0o755)
    return str(program)


CLEAN = of_lock(name="idna", version="3.20", vulns=[])
NOTHING = {"dependencies": [{"name": "cryptography", "version": "41.0.0", "vulns": []}]}
TRACEBACK = "Traceback (most recent call last):\n  File x\nrequests.exceptions.ConnectionError: refused"


@pytest.mark.parametrize(
    ("control", "lock", "code", "said"),
    [
        pytest.param(CONTROL, CLEAN, 0, "No known vulnerability in the packages of a.lock (1)", id="clean"),
        pytest.param(NOTHING, CLEAN, 2, "no advisory of cryptography 41.0.0", id="knows-no-advisories"),
        pytest.param(
            {"dependencies": [{"name": "cryptography", "skip_reason": "not found on PyPI"}]},
            CLEAN, 2, "https://pypi.org does not know cryptography", id="knows-no-packages",
        ),
        pytest.param(
            CONTROL, of_lock(name="acme", skip_reason="not found on PyPI"), 2, "does not know acme", id="knows-one-not"
        ),
        pytest.param(TRACEBACK, CLEAN, 2, "could not ask https://pypi.org: requests.exceptions", id="unreachable"),
        pytest.param(
            CONTROL, of_lock(name="idna", version="3.6", vulns=[{"id": "PYSEC-2024-60", "fix_versions": ["3.7"]}]),
            1, "a.lock: idna 3.6 has PYSEC-2024-60, fixed in 3.7", id="vulnerable",
        ),
        pytest.param(
            CONTROL, of_lock(name="idna", version="3.6", vulns=[{"id": "B", "fix_versions": []}]),
            1, "a.lock: idna 3.6 has B, not fixed in any version", id="not-fixed",
        ),
    ],
)  # fmt: skip
def test_only_a_service_that_finds_the_control_can_say_clean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], control: object, lock: object, code: int, said: str
) -> None:
    """0 is clean, 1 is vulnerable, 2 is that nobody knows; each with one sentence."""
    program = a_pip_audit(tmp_path, control, lock)
    assert audit.main([f"--pip-audit={program}", str(tmp_path / "a.lock")]) == code
    shown = capsys.readouterr()
    assert said in shown.out + shown.err
    assert len((shown.out + shown.err).splitlines()) == 1


@contextmanager
def an_osv_api(known: dict[str, tuple[str, str, list[str]]]) -> Iterator[str]:
    """An OSV API on loopback, as https://google.github.io/osv.dev/post-v1-query/ describes it; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = known.get(f"{asked['package']['name']} {asked['version']}")
            body = json.dumps({"vulns": [self.advisory(*found)]} if found else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @staticmethod
        def advisory(name: str, package: str, fixed: list[str]) -> dict[str, Any]:
            events = [{"introduced": "0"}, *[{"fixed": each} for each in fixed]]
            affected = {
                "package": {"name": package, "ecosystem": "PyPI"},
                "ranges": [{"type": "ECOSYSTEM", "events": events}],
            }
            return {"id": name, "modified": "2024-07-01T00:00:00Z", "affected": [affected]}

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/query"
        server.shutdown()


@pytest.mark.skipif(not PROGRAM.exists(), reason="pip-audit is missing, which `make audit` installs: it was not run")
def test_pip_audit_itself_is_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The real program, against a service that knows vulnerabilities, one that knows none, and none."""
    lock = tmp_path / "a.lock"
    lock.write_text(LOCK)
    with an_osv_api(KNOWN) as address:
        assert audit.main([f"--pip-audit={PROGRAM}", f"--advisories={address}", str(lock)]) == 1
        assert capsys.readouterr().err == "audit: a.lock: idna 3.6 has PYSEC-2024-60, fixed in 3.7\n"
    assert audit.main([f"--pip-audit={PROGRAM}", f"--advisories={address}", str(lock)]) == 2
    assert f"pip-audit could not ask {address}: " in capsys.readouterr().err
    with an_osv_api({}) as address:
        assert audit.main([f"--pip-audit={PROGRAM}", f"--advisories={address}", str(lock)]) == 2
        assert "it would find nothing anywhere" in capsys.readouterr().err
