"""How far a build is, and what is said of how long it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testbed.golang import weight, weights
from testbed.progress import Progress, describe

if TYPE_CHECKING:
    from pathlib import Path

# A build of Kubernetes, Helm and Pebble from nothing, on two cores, beside the making of the images: until which second
# how many more packages began, on how many others each was built, and how many bytes of source each had, on average
# (weighed by the former). The programs stand for themselves.
RECORDED = (
    (20, 277, 61, 62_082),
    (60, 421, 153, 44_350),
    (100, 218, 317, 100_822),
    (140, 178, 416, 23_190),
    (181, 264, 336, 28_889),
    (221, 299, 386, 25_297),
    (261, 292, 412, 28_624),
    (301, 220, 490, 21_006),
    (341, 333, 622, 24_745),
    (381, 189, 443, 44_853),
    (411, 141, 620, 40_590),
    (462, 318, 271, 43_255),
)
PROGRAMS = (2881, 1183, 211)


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


def recorded() -> tuple[Progress, list[tuple[float, list[str]]]]:
    """Return the recorded build, and which of its packages began until when."""
    begun, known = [], {f"program {beneath}": weight(beneath, 10_000, is_program=True) for beneath in PROGRAMS}
    for second, count, beneath, source in RECORDED:
        names = [f"{number} until {second}" for number in range(count)]
        begun.append((float(second), names))
        known |= dict.fromkeys(names, weight(beneath, source))
    return Progress(known, at_a_time=2), begun


def test_estimate_holds_within_a_quarter_from_the_first_minute_on() -> None:
    """Of a real build; by bytes of source alone, as it was once, a minute and a half was said where seven were left."""
    progress, begun = recorded()
    end = begun[-1][0]
    for second, names in begun[:-1]:
        for name in names:
            progress.begin(name)
        if second >= 60:
            assert progress.remaining(second) == pytest.approx(end - second, rel=0.25), second


def test_package_that_is_built_on_many_weighs_more_and_a_program_is_linked_too(tmp_path: Path) -> None:
    """What is beneath counts once, however many ways lead there; what is compiled already weighs nothing."""
    (tmp_path / "a.go").write_bytes(b"x" * 1000)
    packages = [
        {"ImportPath": name, "Name": kind, "Dir": str(tmp_path), "GoFiles": ["a.go"], "Imports": imports, **stale}
        for name, kind, imports, stale in (
            ("unsafe", "unsafe", [], {}),
            ("base", "base", ["unsafe"], {"Stale": True}),
            ("left", "left", ["base", "C"], {"Stale": True}),
            ("right", "right", ["base"], {"Stale": True}),
            ("program", "main", ["left", "right"], {"Stale": True}),
        )
    ]
    assert weights(packages) == {
        "base": weight(1, 1000),
        "left": weight(2, 1000),
        "right": weight(2, 1000),
        "program": weight(4, 1000, is_program=True),
    }
    assert weight(1, 1000) < weight(2, 1000) < weight(2, 2000) < weight(2, 2000, is_program=True)
