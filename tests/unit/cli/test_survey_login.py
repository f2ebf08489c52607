"""`mailtls probe --auth-user` from the command line's request to the survey, against servers on loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fakes.clock import WallClock
from mailservers.certificates import HOST, Authority
from mailservers.scripted import Act, Script, serving
from mailservers.smtp_tls import Mailbox, mailbox, tls_context
from mailtls.cli.probe_options import Options, request
from mailtls.cli.results import Survey, Verdict
from mailtls.cli.survey import survey
from mailtls.probe.facts import LoginOutcome
from mailtls.probe.target import Depth
from mailtls.reasons.reason import Reason

AUTHORITY = Authority()
GOOD = AUTHORITY.issue()
USER, PASSWORD = "probe@example.com", "correct horse"


def asked(port: str, directory: Path) -> Survey:
    """Ask a port of this machine as somebody would who trusts the test's authority."""
    roots = directory / "roots.pem"
    roots.write_text(AUTHORITY.roots_pem)
    wanted = Options(
        targets=("127.0.0.1",),
        ports=(port,),
        depth=Depth.FULL,
        server_names=(HOST,),
        ca_file=roots,
        timeout=2,
        login=(USER, PASSWORD),
    )
    return survey(request(wanted), WallClock())


@contextmanager
def submission(directory: Path, at_auth: Act | None = None) -> Iterator[int]:
    """A server that knows the user; `at_auth` is what it does instead of an answer."""
    with mailbox(Mailbox(tls_context(directory, GOOD), users={USER: PASSWORD}, at_auth=at_auth)) as port:
        yield port


def test_login_that_is_accepted_is_told(tmp_path: Path) -> None:
    """All is well, and it is said that the login was tried."""
    with submission(tmp_path) as port:
        found = asked(str(port), tmp_path)
    assert found.verdict is Verdict.OK
    assert found.endpoints[0].login is not None
    assert found.endpoints[0].login.outcome is LoginOutcome.ACCEPTED


@pytest.mark.parametrize("at_auth", [Act.CLOSE, Act.SILENCE])
def test_login_that_breaks_off_exits_with_one(at_auth: Act, tmp_path: Path) -> None:
    """Nobody can log in, whatever else is well."""
    with submission(tmp_path, at_auth) as port:
        found = asked(str(port), tmp_path)
    assert [each.reason for each in found.findings] == [Reason.AUTH_INCOMPLETE]
    assert (found.verdict, found.exit_code()) == (Verdict.FAIL, 1)


def test_login_without_a_port_for_it_is_warned_of(tmp_path: Path) -> None:
    """Who names only ports where nobody logs in must not believe that the login works."""
    with serving(Script(served=GOOD), tmp_path) as port:
        found = asked(f"{port}/lmtp", tmp_path)
    assert [each.reason for each in found.findings] == [Reason.AUTH_NOT_TRIED]
    assert found.verdict is Verdict.WARN
