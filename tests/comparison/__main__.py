"""`make compare`: lets all tools look at all cases, and writes the page that says who noticed what."""

import argparse
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from comparison.rules import Mark, fault, mark
from comparison.table import COLUMNS, write
from comparison.tools import TOOLS, Said, write_roots
from mailservers.case import Case, Table, probe
from mailservers.instance import Instance, folder
from mailservers.tables import TABLES
from mailtls.model.reason import Severity
from testbed.console import Trouble, say, step

AT_A_TIME = 4
# testssl.sh takes a minute for each: what it is best at, and some of each other kind.
TESTSSL_CASES: Mapping[str, frozenset[str]] = {
    "Postfix": frozenset(
        [
            "good",
            "tls-off",
            "wrong-key",
            "expired",
            "not-yet-valid",
            "self-signed",
            "leaf-alone",
            "wrong-order",
            "wrong-name",
            "weak-key",
            "tls11-only",
            "second-expired",
        ]
    ),
    "haproxy": frozenset({"needs-sni"}),
    "on the way": frozenset({"refused", "starttls-stripped"}),
}


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


def compare(table: Table, name: str, running: Instance, roots: Path) -> dict[str, Mark]:
    """Let all tools look at one service."""
    case, where = table.cases[name], running.where(name)
    marks = {"mailtls": ours(case, where)}
    for tool, run in TOOLS.items():
        if tool == "testssl.sh" and name not in TESTSSL_CASES.get(table.server, ()):
            marks[tool] = Mark.NOT_RUN
        else:
            marks[tool] = _judge(case, run(case, where, roots), f"{table.server} {name}: {tool}")
    say(f"{table.server} {name}: {', '.join(f'{tool} {marks[tool].value}' for tool in COLUMNS)}")
    return marks


def _judge(case: Case, said: Said | None, title: str) -> Mark:
    judged = mark(case, said)
    if said and judged in {Mark.SOMETHING_ELSE, Mark.FALSE_ALARM}:
        say(f"{title} said {said.text[-300:]!r}")
    return judged


def compare_all(roots: Path) -> Mapping[tuple[str, str], Mapping[str, Mark]]:
    """Let all tools look at all services, server by server."""
    marks: dict[tuple[str, str], Mapping[str, Mark]] = {}
    for server, table in TABLES.items():
        if why := table.missing():
            raise Trouble(why)
        with step(f"comparing on {server}"), table.serve(table.cases) as running, ThreadPoolExecutor(AT_A_TIME) as pool:
            done = {name: pool.submit(compare, table, name, running, roots) for name in table.cases}
            marks |= {(server, name): row.result() for name, row in done.items()}
    return marks


def main() -> int:
    """Compare and write; a worse mark of ours than of another tool is told, and fails."""
    argparse.ArgumentParser(prog="comparison", description=__doc__).parse_args()
    with folder("comparison") as home:
        marks = compare_all(write_roots(home))
    write(marks)
    beaten = [(case, row) for case, row in marks.items() if row["mailtls"].rank < max(one.rank for one in row.values())]
    for case, row in beaten:
        say(f"{case}: another tool noticed more: {row}")
    return int(bool(beaten))


if __name__ == "__main__":
    sys.exit(main())
