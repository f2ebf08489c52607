"""The page that compares tools holds every case, and nobody does better than we on any of them."""

import pytest

from comparison import table
from comparison.rules import NAMES, Mark, fault, mark
from comparison.tools import Said
from mailservers.case import Case
from mailservers.tables import EVERY_CASE, TABLES
from mailtls.model.reason import Reason

MARKS = table.read()


def test_page_holds_every_case() -> None:
    """A case that is added or renamed needs `make compare`."""
    assert set(MARKS) == set(EVERY_CASE)


def test_page_is_as_it_would_be_written() -> None:
    """Nobody edited it by hand: what is read back and written again is the same."""
    assert "\n".join(table._lines(MARKS)) + "\n" == table.path().read_text(encoding="utf-8")


@pytest.mark.parametrize(("server", "name"), EVERY_CASE)
def test_nobody_notices_more(server: str, name: str) -> None:
    """Our mark is the best of its row, and never less than noticed."""
    row = MARKS[server, name]
    assert row["mailtls"].rank == 2 >= max(one.rank for one in row.values())


def test_testssl_ran_on_many_cases() -> None:
    """It is slow, but ten cases are the least that a comparison is worth."""
    assert sum(row["testssl.sh"] not in {Mark.NOT_RUN, Mark.CANNOT} for row in MARKS.values()) >= 10


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
