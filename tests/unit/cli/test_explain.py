"""`mailtls explain`: every reason by name, near misses, and the list."""

import re

import pytest
from typer.testing import CliRunner

from mailtls import __version__
from mailtls.cli.app import app
from mailtls.reasons.advice import settings_for
from mailtls.reasons.explanations import EXPLANATIONS
from mailtls.reasons.reason import Reason

RUNNER = CliRunner()


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained_in_any_case(reason: Reason) -> None:
    """Meaning, fix, symptom and rules are printed, as far as there are any."""
    done = RUNNER.invoke(app, ["explain", reason.upper()])
    known = EXPLANATIONS[reason]
    shown = " ".join(done.stdout.split())
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{reason}\n")
    for words in (
        known.meaning,
        known.fix,
        known.symptom,
        known.mailbox_symptom,
        known.rfc,
        known.tlsrpt,
        *settings_for(reason).values(),
    ):
        assert " ".join(words.split()) in shown


@pytest.mark.parametrize("reason", Reason)
def test_rules_name_their_rfc(reason: Reason) -> None:
    """Each of them in full, so that it can be looked up as it stands there."""
    rules = EXPLANATIONS[reason].rfc
    assert len(re.findall(r"RFC \d{3,5} section", rules)) == len(re.findall(r"\d{3,5} section", rules))
    assert not rules or rules.startswith("RFC ")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("StartTLSNotAdvertized", "StarttlsNotAdvertised"), ("certificateexpire", "CertificateExpired")],
)
def test_near_miss_is_suggested(typed: str, meant: str) -> None:
    """Nobody remembers the spelling."""
    done = RUNNER.invoke(app, ["explain", typed])
    assert done.exit_code == 2
    assert meant in done.stderr


@pytest.mark.parametrize(
    ("words", "first", "among"),
    [
        ("spam", "SpfMissing", "DkimKeyWeak"),
        ("padlock", "StarttlsNotAdvertised", "StarttlsRejected"),
        ("Red Padlock", "StarttlsNotAdvertised", "StarttlsUnavailable"),
        ("535", "AuthFailed", "AuthFailed"),
        ("blocked", "ConnectionRefused", "ConnectTimeout"),
        ("untrusted", "SelfSigned", "IncompleteChain"),
        ("expired", "CertificateExpired", "SecondCertificateStale"),
    ],
)
def test_words_of_what_users_see_lead_to_reasons(words: str, first: str, among: str) -> None:
    """A postmaster knows what users complain about, and not what we call it."""
    done = RUNNER.invoke(app, ["explain", words])
    named = [line.strip() for line in done.stdout.splitlines() if line.strip() in set(Reason)]
    assert done.exit_code == 0
    assert named[0] == first
    assert among in named
    assert "SubPathMount" not in named


def test_unknown_reason_points_to_the_list() -> None:
    """And what was typed is shown safely."""
    done = RUNNER.invoke(app, ["explain", "\x1b[31mxyzzy"])
    assert done.exit_code == 2
    assert done.stderr == "There is no reason «\\x1b[31mxyzzy»: --list shows all of them.\n"


def test_list_has_every_reason() -> None:
    """Under the headings of the documentation."""
    done = RUNNER.invoke(app, ["explain", "--list"])
    assert done.exit_code == 0
    assert {line.strip() for line in done.stdout.splitlines()} >= {str(reason) for reason in Reason}


def test_nothing_to_explain_is_said() -> None:
    """A sentence, not a traceback."""
    assert "--list" in RUNNER.invoke(app, ["explain"]).stderr


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version_is_told_by_the_usual_option_too(option: str) -> None:
    """Who reports a bug looks there first."""
    done = RUNNER.invoke(app, [option])
    assert (done.exit_code, done.stdout) == (0, f"{__version__}\n")


@pytest.mark.parametrize("arguments", [["explain", "--list"], *(["explain", each] for each in Reason)])
def test_explanation_fits_into_a_terminal_of_eighty_columns(arguments: list[str]) -> None:
    """Piped or not, no line is broken by the terminal."""
    assert all(len(line) <= 80 for line in RUNNER.invoke(app, arguments).stdout.splitlines())
