"""What the command line promises elsewhere: rights as the chart grants them, every command documented."""

import re

import typer.main
import yaml

from contracts.render import ROOT
from contracts.snippets import page_text
from mailtls.cli.app import app
from mailtls.kube.rights import NEEDED


def test_preflight_asks_for_the_rights_that_the_chart_grants() -> None:
    """Neither more nor less: the operator's ClusterRole, without what is not in a namespace."""
    documents = yaml.safe_load_all((ROOT / "deploy" / "mailtls.yaml").read_text(encoding="utf-8"))
    (role,) = (each for each in documents if each["kind"] == "ClusterRole" and each["metadata"]["name"] == "mailtls")
    granted = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if resource != "customresourcedefinitions"
    }
    assert {(right.group, right.resource, right.verb) for right in NEEDED} == granted


def test_every_command_and_option_is_documented() -> None:
    """A reader finds each of them in the pages about the command line."""
    pages = page_text("probe-cli.md") + page_text("cluster-cli.md")
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        if name not in {"run", "uninstall", "version"}:
            assert re.search(rf"mailtls {name}\b", pages), name
            for parameter in command.params:
                for option in parameter.opts:
                    assert not option.startswith("--") or option == "--help" or option in pages, (name, option)
