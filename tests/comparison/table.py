"""The page that says who noticed what: written from marks, and read back to be checked."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from comparison.rules import Mark, fault
from mailservers.tables import EVERY_CASE, TABLES
from testbed.layout import project_folder

PAGE = "docs/explanation/comparison.md"
COLUMNS = ("mailtls", "posttls-finger", "testssl.sh", "openssl")
Marks: TypeAlias = Mapping[tuple[str, str], Mapping[str, Mark]]
_HEAD = """\
# Who notices what

The cases and the rules that judge them are our own: we chose faults that mailtls is made to notice, so read this page
as a list of what it notices, not as an independent ranking. What users of other tools met is
[further down](#from-the-issue-lists-of-others). {measured}

Every case here is a real mail server, or a proxy in front of one, that `make test` sets up as described, mostly wrong
on purpose, and probes. `make compare` lets the tools that postmasters use probe the same services and writes this page;
nothing in it is edited by hand. To probe a server of yours: [the command line](../reference/probe-cli.md).

How it is judged:

- **noticed**: the output names the fault. For mailtls that is the reason in the second column; for the others the words
  in `tests/comparison/rules.py`, which are generous: "wrong version number" of OpenSSL counts for clear text where TLS
  is due. A fact without a judgement, such as "Server public key is 1024 bit", does not count.
- **something else**: the tool fails or warns, but its words do not lead to the fault.
- **did not notice**: the tool reports no fault.
- **fine** and **false alarm**: of services that are as they should be.
- **cannot probe**: the tool does not speak the protocol, or cannot send a PROXY header or XCLIENT before it.

How they run:

- posttls-finger at level `secure` with `-F`; openssl as `s_client` with `-verify_return_error`, `-verify_hostname` and
  QUIT inside TLS; both for 12 seconds at most.
- testssl.sh with `--protocols --server-defaults --add-ca`, with `--std` on cases that mailtls probes in full, with
  `--starttls-injection` on deep ones; for 600 seconds at most. What it says counts whatever weight it gives it, and is
  an alarm from MEDIUM on, except that the certificates of the tests name no place for revocation. {ran}
- All get the same settings: the name to expect and the CA to trust. Only mailtls also takes which certificate
  is stored, which the cases need where one was renewed but not loaded, or belongs to somebody else.

What the others do better, and no case here asks for:

- testssl.sh names every cipher, curve and known weakness of TLS (Heartbleed, ROBOT, LUCKY13 and others), simulates
  clients, checks revocation, grades, and writes reports for people and machines. It warns of certificates that are
  valid for more than 398 days wherever they are served; mailtls warns of a private CA's from 825 days on, where users
  log in, and of a public CA's by the time that it may issue for.
- posttls-finger judges as the Postfix that sends to you would: with TLSA records of DANE in the handshake itself, or by
  the policy that you name, and shows the whole dialog. mailtls compares TLSA records with what is served, one by one.
- openssl `s_client` lets you type, and shows each octet (`-msg`, `-trace`), of any protocol and with any option of TLS.
- All three are packages of the usual Linux distributions. None needs Kubernetes or Python.
"""


_MEASURED = re.compile(r"Measured on [^\n]*")
_REPORTED = "From the issue lists of others"


def write(marks: Marks, measured: str) -> None:
    """Write the page; `measured` is the sentence that says when, and with what."""
    path().write_text("\n".join(lines(marks, measured)) + "\n", encoding="utf-8")


def measured() -> str:
    """Read back when it was measured, and with what."""
    found = _MEASURED.search(path().read_text(encoding="utf-8"))
    return found[0] if found else ""


def read() -> dict[tuple[str, str], dict[str, Mark]]:
    """Read the marks of the page back."""
    marks, server = {}, ""
    for line in path().read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            server = line.removeprefix("## ")
        elif found := re.fullmatch(r"\| `([^`]+)` \| [^|]* \| (.*) \|", line):
            cells = [Mark(cell.strip()) for cell in found[2].split("|")]
            marks[server, found[1]] = dict(zip(COLUMNS, cells, strict=True))
    return marks


def path() -> Path:
    """Where the page is."""
    return project_folder() / PAGE


def lines(marks: Marks, measured: str) -> Iterator[str]:
    """Write the page, line by line."""
    yield _HEAD.replace("{ran}", _ran(marks)).replace("{measured}", measured)
    yield from _summary(marks)
    yield from _reported(marks)
    for server, table in TABLES.items():
        yield f"\n## {server}\n"
        yield f"| case | what is wrong | {' | '.join(COLUMNS)} |"
        yield "| --- " * (len(COLUMNS) + 2) + "|"
        for name, case in table.cases.items():
            wrong = fault(case)
            cells = " | ".join(marks[server, name][tool].value for tool in COLUMNS)
            yield f"| `{name}` | {wrong or 'no fault'} | {cells} |"


def _reported(marks: Marks) -> Iterator[str]:
    yield f"""\

## {_REPORTED}

These cases were not our choice: users of other programs met them, and wrote them into those programs' lists of issues.
They are in the tables below as well."""
    yield f"\n| reported there | case | what is wrong | {' | '.join(COLUMNS)} |"
    yield "| --- " * (len(COLUMNS) + 3) + "|"
    for server, name in EVERY_CASE:
        case = TABLES[server].cases[name]
        if case.thread:
            repository, _, number = case.thread.partition("#")
            link = f"[{case.thread}](https://github.com/{repository}/issues/{number})"
            cells = " | ".join(marks[server, name][tool].value for tool in COLUMNS)
            yield f"| {link} | {server}: {name} | {fault(case) or 'no fault'} | {cells} |"


def _ran(marks: Marks) -> str:
    asked = [row["testssl.sh"] for row in marks.values() if row["testssl.sh"] is not Mark.CANNOT]
    ran = sum(one is not Mark.NOT_RUN for one in asked)
    if ran == len(asked):
        return f"It ran on all\n  {ran} cases that it can probe."
    return (
        f"It takes\n  half a minute for each: it ran on {ran} of the {len(asked)} cases that it can probe, "
        "one of each fault among them."
    )


def _summary(marks: Marks) -> Iterator[str]:
    yield "## In figures\n"
    yield f"| of {len(EVERY_CASE)} cases | {' | '.join(COLUMNS)} |"
    yield "| --- " * (len(COLUMNS) + 1) + "|"
    for one in Mark:
        counts = [sum(row[tool] is one for row in marks.values()) for tool in COLUMNS]
        if any(counts):
            yield f"| {one.value} | {' | '.join(map(str, counts))} |"
