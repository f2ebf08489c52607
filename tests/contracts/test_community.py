"""What a stranger meets who wants to report something: forms that the forge takes, and no invented address."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from contracts.render import ROOT
from mailtls.cli.app import app

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
QUESTIONS = [form for form in FORMS if form.stem != "config"]
TEXTS = [*FORMS, *(ROOT / name for name in ("README.md", "SUPPORT.md", "CODE_OF_CONDUCT.md", "SECURITY.md"))]
KNOWN = {"markdown": {"value"}, "textarea": {"label"}, "input": {"label"}}


def fields(form: Path) -> list[dict[str, Any]]:
    """What a form asks for."""
    body: list[dict[str, Any]] = yaml.safe_load(form.read_text("utf-8"))["body"]
    return body


@pytest.mark.parametrize("form", QUESTIONS, ids=lambda form: form.stem)
def test_form_is_one_that_the_forge_takes(form: Path) -> None:
    """It has a name and a description; each field has a type, what that needs, and an id of its own."""
    document = yaml.safe_load(form.read_text("utf-8"))
    assert {"name", "description", "body"} <= set(document)
    for field in fields(form):
        assert set(field["attributes"]) >= KNOWN[field["type"]]
    named = [field["id"] for field in fields(form) if field["type"] != "markdown"]
    assert len(named) == len(set(named)) > 0


def test_report_of_a_fault_asks_for_what_is_needed_to_find_it() -> None:
    """The conditions, the mail server with its version, and the support bundle; without keys."""
    asked = {field["id"]: field for field in fields(ROOT / ".github/ISSUE_TEMPLATE/bug.yml") if "id" in field}
    required = {name for name, field in asked.items() if field.get("validations", {}).get("required")}
    assert {"happened", "status", "server", "versions"} <= required
    assert "bundle" in asked


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.name)
def test_commands_that_are_named_exist(text: Path) -> None:
    """Whoever is asked for the output of a command can run it."""
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"`(?:kubectl )?mailtls ([a-z-]+)", text.read_text("utf-8")))
    assert named <= commands


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.name)
def test_no_address_is_invented(text: Path) -> None:
    """The project has no host and no mailbox: only examples, and pages that exist, are named."""
    found = re.findall(r"[\w.+-]+@([\w-]+\.[\w.-]+\w)|https?://([\w.-]+\w)", text.read_text("utf-8"))
    assert {mailbox or host for mailbox, host in found} <= {
        "example.com",
        "mx1.example.com",
        "www.contributor-covenant.org",
    }
