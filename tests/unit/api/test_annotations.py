"""One place names the annotations."""

import re
from pathlib import Path

import mailtls
from mailtls.api.resource import Request, annotations_of

LITERAL = re.compile(r"""["']mailtls[.]dev/[a-z-]+["']""")
NO_ANNOTATIONS = {'"mailtls.dev/account-scope"', '"mailtls.dev/challenges"'}  # a label, a finalizer


def test_no_other_module_names_an_annotation() -> None:
    """Who looks for what is written on an object finds it in one file."""
    package = Path(mailtls.__file__).parent
    elsewhere = [
        (file.relative_to(package), found)
        for file in package.rglob("*.py")
        if file != package / "api" / "annotations.py"
        for found in set(LITERAL.findall(file.read_text(encoding="utf-8"))) - NO_ANNOTATIONS
    ]
    assert elsewhere == []


def test_request_names_its_annotation_and_its_field_of_the_status() -> None:
    """As they are documented."""
    named = {each: (each.annotation, each.last_handled) for each in Request}
    assert named == {
        "renew": ("mailtls.dev/renew", "lastHandledRenew"),
        "rollback": ("mailtls.dev/rollback", "lastHandledRollback"),
        "probe": ("mailtls.dev/probe", "lastHandledProbe"),
    }


def test_object_without_annotations_has_none() -> None:
    """Whatever is left out."""
    assert [annotations_of(each) for each in ({}, {"metadata": None}, {"metadata": {"annotations": None}})] == [{}] * 3
