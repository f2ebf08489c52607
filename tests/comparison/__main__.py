"""`make compare`: lets all tools look at all cases, and writes the page that says who noticed what.

testssl.sh comes first, for it takes an hour of two processors: what it said is kept, and `--resume` goes on from there.
With `--new` it is asked only about cases that the page has no mark of it for. `--partial` writes the page before it was
asked about all: the other cases keep the marks that the page has. The first case of each fault comes before the others.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from comparison.rules import Mark, can_ask, fault, mark
from comparison.table import COLUMNS, Marks, read, write
from comparison.testssl import Kept, testssl
from comparison.testssl import version as testssl_version
from comparison.tools import TOOLS, Said, versions, write_roots
from mailservers.case import Case, Table, probe
from mailservers.instance import Instance, folder
from mailservers.tables import EVERY_CASE, TABLES
from mailtls.reasons.reason import Severity
from testbed.console import Trouble, say, step
from testbed.layout import project_folder

AT_A_TIME, SLOW_ONES_AT_A_TIME = 4, 2


@dataclass(frozen=True, slots=True)
class Heard:
    """What testssl.sh said in this run or one that was cut short, and the marks of earlier ones.

    `only_new`: it is not asked about cases that have such a mark.
    """

    kept: Kept
    earlier: Mapping[tuple[str, str], Mark]
    only_new: bool = False

    def ahead(self, server: str, names: Iterable[str]) -> list[str]:
        """The cases that it has to be asked about."""
        return self.kept.ahead(server, [name for name in names if not self._is_known(server, name)])

    def _is_known(self, server: str, name: str) -> bool:
        return self.only_new and (server, name) in self.earlier


def ours(case: Case, where: tuple[str, int]) -> Mark:
    """Judge ourselves by the reason, not by words."""
    endpoint = probe(case, where)
    wrong = fault(case)
    if wrong is None:
        return Mark.FALSE_ALARM if endpoint.findings else Mark.GOOD
    if wrong in {found.reason for found in endpoint.findings}:
        return Mark.NOTICED
    failed = any(found.severity is Severity.FAIL for found in endpoint.findings)
    return Mark.SOMETHING_ELSE if failed else Mark.MISSED


def compare(table: Table, name: str, running: Instance, roots: Path, heard: Heard) -> dict[str, Mark]:
    """Let all tools look at one service; what testssl.sh said of it is known."""
    case, where = table.cases[name], running.where(name)
    said = {tool: run(case, where, roots) for tool, run in TOOLS.items()}
    marks = {tool: _judge(case, words, f"{table.server} {name}: {tool}") for tool, words in said.items()}
    marks |= {"mailtls": ours(case, where), "testssl.sh": _kept_mark(table, name, heard)}
    say(f"{table.server} {name}: {', '.join(f'{tool} {marks[tool].value}' for tool in COLUMNS)}")
    return marks


def _kept_mark(table: Table, name: str, heard: Heard) -> Mark:
    case = table.cases[name]
    if can_ask(case) and heard.kept.ahead(table.server, [name]):
        return heard.earlier.get((table.server, name), Mark.NOT_RUN)
    said = heard.kept.said(table.server, name) if can_ask(case) else None
    return _judge(case, said, f"{table.server} {name}: testssl.sh")


def _judge(case: Case, said: Said | None, title: str) -> Mark:
    judged = mark(case, said)
    if said and judged in {Mark.SOMETHING_ELSE, Mark.FALSE_ALARM, Mark.MISSED}:
        say(f"{title} said {said.text[-300:]!r}")
    return judged


def compare_all(roots: Path, heard: Heard) -> Mapping[tuple[str, str], Mapping[str, Mark]]:
    """Let all tools look at all services, server by server."""
    marks: dict[tuple[str, str], Mapping[str, Mark]] = {}
    for server, table in TABLES.items():
        with step(f"comparing on {server}"), table.serve(table.cases) as running, ThreadPoolExecutor(AT_A_TIME) as pool:
            done = {name: pool.submit(compare, table, name, running, roots, heard) for name in table.cases}
            marks |= {(server, name): row.result() for name, row in done.items()}
    return marks


def ask_testssl(roots: Path, heard: Heard, deadline: float) -> int:
    """Ask testssl.sh about all cases that it can ask about, until the time is up; gives how many are left."""
    for names in rounds():
        for server, table in TABLES.items():
            ahead = heard.ahead(server, names[server])
            if ahead and time.monotonic() < deadline:
                with step(f"testssl.sh on {server}"), table.serve(table.cases) as running:
                    _ask_in_turn(Asking(table, running, roots, heard.kept, deadline), ahead)
    return sum(len(heard.ahead(server, names[server])) for names in rounds() for server in TABLES)


def rounds() -> tuple[Mapping[str, list[str]], ...]:
    """The cases that it can ask about, by server: one of each fault, one of each fault of a server, then the others."""
    chosen: tuple[Mapping[str, list[str]], ...] = tuple({server: [] for server in TABLES} for _ in range(3))
    seen: set[object] = set()
    for server, name in EVERY_CASE:
        case = TABLES[server].cases[name]
        if can_ask(case):
            wrong = fault(case)
            place = 0 if wrong not in seen else 1 if (server, wrong) not in seen else 2
            seen |= {wrong, (server, wrong)}
            chosen[place][server].append(name)
    return chosen


@dataclass(frozen=True, slots=True)
class Asking:
    """Asking testssl.sh about a server."""

    table: Table
    running: Instance
    roots: Path
    kept: Kept
    deadline: float

    def ask(self, name: str) -> None:
        """Ask about a case, and keep the answer, unless the time is up."""
        if time.monotonic() < self.deadline:
            said = testssl(self.table.cases[name], self.running.where(name), self.roots)
            self.kept.keep(self.table.server, name, said)
            say(f"testssl.sh has looked at {self.table.server} {name}")


def _ask_in_turn(asking: Asking, names: list[str]) -> None:
    with ThreadPoolExecutor(SLOW_ONES_AT_A_TIME) as pool:
        list(pool.map(asking.ask, names))


def main() -> int:
    """Compare and write; a worse mark of ours than of another tool is told, and fails."""
    parser = argparse.ArgumentParser(prog="comparison", description=__doc__)
    parser.add_argument("--resume", action="store_true", help="take what testssl.sh said in a run that was cut short")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="ask testssl.sh for no longer than this")
    parser.add_argument("--partial", action="store_true", help="write the page though testssl.sh has cases ahead")
    parser.add_argument("--new", action="store_true", help="ask testssl.sh only about cases that it has no mark for")
    options = parser.parse_args()
    if why := next((why for table in TABLES.values() if (why := table.missing())), ""):
        raise Trouble(why)
    kept = Kept(project_folder() / "build" / "comparison")
    if not options.resume:
        kept.forget()
    with folder("comparison") as home:
        roots = write_roots(home)
        heard = Heard(kept, _earlier(), options.new)
        left = ask_testssl(roots, heard, time.monotonic() + options.seconds)
        if left and not options.partial:
            say(f"testssl.sh has {left} cases ahead: go on by `make compare ARGS=--resume`")
            return 1
        return _conclude(compare_all(roots, heard), kept)


def _earlier() -> dict[tuple[str, str], Mark]:
    """What testssl.sh made of the cases by the page as it is."""
    marks = {case: row["testssl.sh"] for case, row in read().items()}
    return {case: mark for case, mark in marks.items() if mark is not Mark.NOT_RUN}


def _conclude(marks: Marks, kept: Kept) -> int:
    tools = f"Postfix {versions()['postfix']}, testssl.sh {testssl_version()} and OpenSSL {versions()['openssl']}"
    write(marks, f"Measured on {datetime.now(UTC):%Y-%m-%d} with {tools}.{_of_earlier_runs(kept)}")
    beaten = [(case, row) for case, row in marks.items() if row["mailtls"].rank < max(one.rank for one in row.values())]
    for case, row in beaten:
        say(f"{case}: another tool noticed more: {row}")
    return int(bool(beaten))


def _of_earlier_runs(kept: Kept) -> str:
    """Say how many cases testssl.sh was not asked about again; empty where there are none."""
    askable = [(server, name) for names in rounds() for server in names for name in names[server]]
    old = sum(bool(kept.ahead(server, [name])) for server, name in askable)
    if not old:
        return ""
    return f" testssl.sh probed {len(askable) - old} cases then, and {old} in earlier runs."


if __name__ == "__main__":
    sys.exit(main())
