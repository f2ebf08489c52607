"""Generated files are up to date, and the table of reasons is complete."""

import pytest

from contracts.render import GENERATED, helm_binary, outdated
from mailtls.reasons.explanations import EXPLANATIONS, SECTIONS
from mailtls.reasons.reason import Reason


def test_every_reason_is_explained_once() -> None:
    """Each member of the enum has an explanation and a place in the documentation."""
    assert set(EXPLANATIONS) == set(Reason)
    assert sorted(each for members in SECTIONS.values() for each in members) == sorted(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_explanation_is_in_whole_sentences(reason: Reason) -> None:
    """Meaning and fix begin with a capital letter, end with a full stop and say more than a word."""
    for text in (EXPLANATIONS[reason].meaning, EXPLANATIONS[reason].fix):
        assert text.endswith(".")
        assert len(text.split()) > 3
        assert text[0].isupper() or text.split()[0].startswith(("spec.", "status."))
        assert "  " not in text


@pytest.mark.parametrize("name", sorted(set(GENERATED) - {"deploy/mailtls.yaml"}))
def test_generated_file_is_up_to_date(name: str) -> None:
    """The file in the tree is what its source makes now."""
    assert outdated([name]) == []


@pytest.mark.skipif(helm_binary() is None, reason="Helm is missing: deploy/mailtls.yaml was not compared")
def test_rendered_manifest_is_up_to_date() -> None:
    """The manifest for those without Helm is what the chart renders now."""
    assert outdated(["deploy/mailtls.yaml"]) == []
