"""How far a build is, and what is said of how long it goes on."""

from __future__ import annotations

from testbed.progress import Progress, describe


def compiled(*names: str) -> Progress:
    """A build of four packages by two compilers, which began these."""
    progress = Progress({"small": 1.0, "medium": 3.0, "large": 6.0, "main": 10.0}, at_a_time=2)
    for name in names:
        progress.begin(name)
    return progress


def test_package_counts_as_done_once_the_compilers_are_at_later_ones() -> None:
    """Go names a package when it begins: the two last named are being compiled."""
    assert compiled("small", "medium").share == 0
    assert compiled("small", "medium", "large", "main").share == 4 / 20


def test_estimate_follows_from_the_source_that_is_compiled() -> None:
    """A fifth took a minute, so the rest takes four; a count of packages would have said one."""
    progress = compiled("small", "medium", "large", "main")
    assert progress.remaining(60.0) == 240.0
    assert describe(progress, 60.0, "packages") == "2 of 4 packages, 20%, about 4 min left"
    assert describe(progress, 20.0, "packages") == "2 of 4 packages, 20%, about 80 s left"


def test_no_estimate_while_next_to_nothing_is_done() -> None:
    """A guess is none: it says so."""
    assert describe(compiled(), 9.0, "packages") == "0 of 4 packages, 0%, too early for an estimate"


def test_lines_that_name_no_package_count_nothing() -> None:
    """The same goes for one that is named again, as a program is when it is linked."""
    progress = compiled("small", "go: downloading example.com v1.0.0", "small", "medium")
    assert progress.done == 0


def test_nothing_to_compile_is_all_done() -> None:
    """Everything was in the cache."""
    assert Progress({}, at_a_time=2).share == 1.0
