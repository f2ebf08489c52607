"""Generated files are up to date, and the table of reasons is complete."""

import ast
import re

import pytest

from contracts.reason_places import findings, only_warn, where
from contracts.render import GENERATED, REASONS, ROOT, helm_binary, outdated
from mailtls.api.installation import Feature
from mailtls.api.resource import GROUP, Request
from mailtls.api.status import ConditionType
from mailtls.reasons.explanations import EXPLANATIONS, SECTIONS
from mailtls.reasons.pages import file_of
from mailtls.reasons.reason import Reason
from mailtls.settings import Settings


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


@pytest.mark.parametrize(
    ("room", "conditions"),
    [
        ("issuance", {ConditionType.ISSUED, ConditionType.STORED}),
        ("rollout", {ConditionType.ROLLED_OUT}),
        ("probe", {ConditionType.VERIFIED}),
        ("verification", {ConditionType.VERIFIED}),
        ("maildomain", {ConditionType.DOMAIN_HEALTHY}),
    ],
)
def test_page_says_that_a_reason_stands_in_the_condition_of_the_room_that_finds_it(
    room: str, conditions: set[ConditionType]
) -> None:
    """What is in the history alone stands in none."""
    code = "".join(file.read_text("utf-8") for file in (ROOT / "operator" / "mailtls" / room).rglob("*.py"))
    found = {Reason[name] for name in re.findall(r"Finding\(\s*Reason\.(\w+)", code)} - FOR_OTHERS
    assert found
    assert {
        reason for reason in found if where(reason).conditions and not conditions & {*where(reason).conditions}
    } == set()


FOR_OTHERS = {Reason.CAA_FORBIDS}
"""The records of a mail domain are read for preflight."""


def test_page_of_a_warning_claims_neither_stalled_nor_an_alert() -> None:
    """But for the alert that names the reason; what makes a condition False is none of them."""
    pages = {reason: (ROOT / file_of(reason)).read_text("utf-8") for reason in only_warn()}
    assert Reason.LEGACY_TLS_ENABLED in pages
    assert pages.keys().isdisjoint(
        {Reason.SERVING_OLD_CERTIFICATE, Reason.STARTTLS_NOT_ADVERTISED, Reason.TLSA_MISMATCH}
    )
    assert [reason for reason, text in pages.items() if "`Stalled`" in text or "`Reconciling`" in text] == []
    assert [reason for reason, text in pages.items() if "- alerts, where" in text] == [Reason.PORT_BLOCKED]


def test_reason_that_is_a_value_is_not_taken_for_a_warning() -> None:
    """Where it goes is not known: a finding that is made of a variable may fail."""
    warns = ast.parse("Finding(Reason.A, said, Severity.WARN)")
    assert [*findings(warns)] == [("A", True)]
    for made in (
        "Finding(Reason.A, said)",
        "reason = Reason.A",
        "FAULTS = {1: Reason.A}",
        "replace(one, reason=Reason.A)",
    ):
        assert [*findings(ast.parse(made))] == [("A", False)], made
    for asked in ("reason is Reason.A", "{Reason.A}", "ADVICE[Reason.A]", "ADVICE = {Reason.A: 1}"):
        assert [*findings(ast.parse(asked))] == [], asked
    assert Reason.STS_FETCH_FAILED not in only_warn()


def test_page_of_what_a_domain_publishes_does_not_claim_stalled() -> None:
    """`DomainHealthy` holds nothing up; a reason that a port can have, too, may."""
    pages = {reason: (ROOT / file_of(reason)).read_text("utf-8") for reason in Reason}
    beside = [reason for reason in Reason if where(reason).conditions == (ConditionType.DOMAIN_HEALTHY,)]
    assert Reason.TLSA_MISMATCH in beside
    claims = [reason for reason, text in pages.items() if "`Stalled`" in text]
    assert Reason.HOSTNAME_MISMATCH in claims
    assert set(claims).isdisjoint(beside)


@pytest.mark.parametrize(
    ("reason", "alert"),
    [
        (Reason.SERVING_OLD_CERTIFICATE, "MailTlsServedCertificateDiffers"),
        (Reason.UNEXPECTED_CERTIFICATE, "MailTlsServedCertificateDiffers"),
        (Reason.CERTIFICATE_EXPIRED, "MailTlsServedCertificateExpired"),
        (Reason.CERTIFICATE_EXPIRED, "MailTlsStoredCertificateExpired"),
        (Reason.TLSA_MISMATCH, "MailTlsDomainUnhealthy"),
    ],
)
def test_page_names_the_alert_that_measures_the_same(reason: Reason, alert: str) -> None:
    """Also where the alert's expression does not name the reason."""
    assert f"[{alert}]" in (ROOT / file_of(reason)).read_text("utf-8")


@pytest.mark.parametrize(
    ("variable", "setting"),
    [
        ("MAILTLS_ACME_ALLOWED_NAMES", "acme_allowed_names"),
        ("MAILTLS_ACME_ORDER_LIMITS", "acme_order_limits"),
        ("MAILTLS_RESOLVERS", "resolvers"),
        ("MAILTLS_ALLOWED_NETWORKS", "allowed_networks"),
        ("MAILTLS_DISABLED_FEATURES", "disabled_features"),
    ],
)
def test_example_of_a_variable_is_taken_by_the_operator(variable: str, setting: str) -> None:
    """Whoever installs without Helm has this page alone; the example of the features names all of them."""
    page = (ROOT / "docs/reference/environment.md").read_text("utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| `{variable}`"))
    (example,) = re.findall(r": `([^`]*[,:][^`]*)`", row.split("|")[-2])
    settings = Settings.from_environment({"MAILTLS_NAMESPACE": "mailtls", variable: example})
    assert getattr(settings, setting) != getattr(Settings("mailtls", "mailtls-0"), setting)
    assert settings.disabled_features.off in (frozenset(), frozenset(Feature))


def test_pages_of_the_reasons_are_up_to_date() -> None:
    """Each reason has one, and there is none of a reason that is gone."""
    pages = {str(page.relative_to(ROOT)) for page in (ROOT / REASONS).iterdir()}
    assert pages == {file_of(reason) for reason in Reason}
    assert outdated(sorted(pages)) == []


@pytest.mark.skipif(helm_binary() is None, reason="Helm is missing: deploy/mailtls.yaml was not compared")
def test_rendered_manifest_is_up_to_date() -> None:
    """The manifest for those without Helm is what the chart renders now."""
    assert outdated(["deploy/mailtls.yaml"]) == []


def test_page_of_the_resource_lists_each_annotation_that_is_named_elsewhere() -> None:
    """People look there for what admission policies, GitOps tools and backups have to know."""
    page = (ROOT / "docs/reference/resource.md").read_text("utf-8").partition("## Annotations and labels")[2]
    named = re.compile(rf"{re.escape(GROUP)}/(?!v\d)[a-z-]+[a-z]")
    guides = "".join(guide.read_text("utf-8") for guide in (ROOT / "docs/how-to").glob("*.md"))
    said = "".join(known.meaning + known.fix for known in EXPLANATIONS.values())
    asked = {*named.findall(guides + said), *(each.annotation for each in Request)}
    assert f"{GROUP}/adopt" in asked
    assert asked <= {*named.findall(page)}
