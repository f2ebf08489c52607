"""The page that compares tools holds every case, and nobody does better than we on any of them."""

import re
from pathlib import Path

import pytest

from comparison import table
from comparison.__main__ import Heard, rounds
from comparison.rules import NAMES, Mark, can_ask, fault, mark
from comparison.testssl import Kept, heard
from comparison.tools import Said
from mailservers.case import Case
from mailservers.tables import EVERY_CASE, TABLES
from mailtls.reasons.reason import Reason

MARKS = table.read()
CASES = {(server, name): TABLES[server].cases[name] for server, name in EVERY_CASE}
GOOD_REPORT = Path(__file__).with_name("testssl-good.csv")


def test_page_holds_every_case() -> None:
    """A case that is added or renamed needs `make compare`."""
    assert set(MARKS) == set(EVERY_CASE)


def test_page_is_as_it_would_be_written() -> None:
    """Nobody edited it by hand: what is read back and written again is the same."""
    assert "\n".join(table.lines(MARKS, table.measured())) + "\n" == table.path().read_text(encoding="utf-8")


@pytest.mark.parametrize(("server", "name"), EVERY_CASE)
def test_nobody_notices_more(server: str, name: str) -> None:
    """Our mark is the best of its row, and never less than noticed."""
    row = MARKS[server, name]
    assert row["mailtls"].rank == 2 >= max(one.rank for one in row.values())


def test_page_says_when_it_was_measured_and_with_what() -> None:
    """A reader sees how old it is."""
    assert re.match(
        r"Measured on 20\d\d-\d\d-\d\d with Postfix \d\S+, testssl.sh \d\S+ and OpenSSL \d", table.measured()
    )


def test_threads_name_a_repository_and_a_number() -> None:
    """Whoever doubts a case finds where it comes from."""
    threads = {case.thread for case in CASES.values() if case.thread}
    assert len(threads) >= 25
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", each) for each in threads)


def test_testssl_ran_on_each_kind_of_fault() -> None:
    """It is slow, so the first case of each fault is the least that a comparison is worth."""
    ran = {case for case, row in MARKS.items() if row["testssl.sh"] not in {Mark.NOT_RUN, Mark.CANNOT}}
    assert len(ran) >= 60
    assert {(server, name) for server, names in rounds()[0].items() for name in names} <= ran


def test_rounds_hold_each_case_once_and_every_fault_in_the_first() -> None:
    """Whatever a cut run leaves out, it is no kind of fault."""
    chosen = [(server, name) for names in rounds() for server in names for name in names[server]]
    assert sorted(chosen) == sorted(case for case in EVERY_CASE if can_ask(CASES[case]))
    first = [fault(CASES[server, name]) for server, names in rounds()[0].items() for name in names]
    assert len(first) == len(set(first)) == len({fault(CASES[case]) for case in chosen})


def test_testssl_is_asked_again_unless_only_new_cases_are_wanted(tmp_path: Path) -> None:
    """It takes an hour: what it said in this run is kept, and the marks of earlier runs do where the time is short."""
    kept, earlier = Kept(tmp_path), {("Postfix", "good"): Mark.GOOD}
    kept.keep("Postfix", "expired", Said("expired", bad=True))
    names = ["good", "expired", "postscreen"]
    assert Heard(kept, earlier).ahead("Postfix", names) == ["good", "postscreen"]
    assert Heard(kept, earlier, only_new=True).ahead("Postfix", names) == ["postscreen"]


@pytest.mark.parametrize("wrong", NAMES)
def test_what_testssl_says_of_a_good_server_names_no_fault(wrong: Reason) -> None:
    """The rules are generous, but praise is no finding."""
    good = heard(GOOD_REPORT.read_text(encoding="utf-8"), "", gave_up=False)
    assert not good.bad
    assert mark(Case(reason=wrong), good) is Mark.MISSED


@pytest.mark.parametrize(
    ("row", "printed", "bad", "text"),
    [
        ('"cert_keySize","h/1","25","MEDIUM","RSA 1024 bits","",""', "", True, "cert_keySize MEDIUM RSA 1024 bits"),
        ('"certs_list_ordering_problem","h/1","25","LOW","yes","",""', "", False, "ordering_problem LOW yes"),
        ('"cert_revocation","h/1","25","HIGH","Neither CRL","",""', "", False, ""),
        ('"cert <#1>","h/1","25","INFO","-----BEGIN CERTIFICATE----- MII","",""', "", False, ""),
        ('"scanProblem","h/1","25","WARN","No server certificate","",""', "", True, "No server certificate"),
        ('"TLS1","h/1","25","OK","not off', " Oops: no end in 150 seconds", False, "Oops: no end"),
    ],
)
def test_report_of_testssl_is_read_whatever_its_weight(row: str, printed: str, bad: bool, text: str) -> None:
    """All weights are heard, alarms are told from remarks, and a report that is cut short is read to its end."""
    said = heard(f'"id","fqdn/ip","port","severity","finding","cve","cwe"\n{row}\n', printed, gave_up=False)
    assert (said.bad, text in said.text) == (bad, True)
    assert text or not said.text


def test_every_fault_has_words_that_name_it() -> None:
    """A reason without a rule could never be noticed by others."""
    used = {fault(case) for each in TABLES.values() for case in each.cases.values()} - {None}
    assert used <= set(NAMES)


@pytest.mark.parametrize(
    ("case", "said", "expected"),
    [
        (Case(), Said("all is well", bad=False), Mark.GOOD),
        (Case(), Said("oh no", bad=True), Mark.FALSE_ALARM),
        (Case(), None, Mark.CANNOT),
        (Case(xclient="192.0.2.1"), Said("", bad=False), Mark.CANNOT),
        (Case(reason=Reason.CERTIFICATE_EXPIRED), Said("certificate has expired", bad=True), Mark.NOTICED),
        (Case(reason=Reason.CERTIFICATE_EXPIRED), Said("handshake failure", bad=True), Mark.SOMETHING_ELSE),
        (Case(reason=Reason.CERTIFICATE_EXPIRED), Said("Verification: OK", bad=False), Mark.MISSED),
        (Case(warns=(Reason.WEAK_CRYPTO,)), Said("EE certificate key too weak", bad=True), Mark.NOTICED),
        (Case(warns=(Reason.WEAK_CRYPTO,)), Said("Server public key is 1024 bit", bad=False), Mark.MISSED),
        (Case(reason=Reason.SERVING_OLD_CERTIFICATE), Said("certificate has expired", bad=True), Mark.SOMETHING_ELSE),
    ],
)
def test_output_is_judged_by_its_words(case: Case, said: Said | None, expected: Mark) -> None:
    """The rules tell naming a fault from failing somehow, and both from being content."""
    assert mark(case, said) is expected
