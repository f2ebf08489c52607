"""The alert rules, by promtool: valid, and firing when they should and only then."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from contracts.render import ROOT
from contracts.snippets import yaml_blocks

RULES = ROOT / "deploy" / "alerts.yaml"
CASES = sorted((Path(__file__).parent / "alerts").glob("*.yaml"))

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing: no alert was tested")


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool and return what it said."""
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)


def alert_names(rules: Path = RULES) -> set[str]:
    """Return the names of all alerts."""
    groups = yaml.safe_load(rules.read_text())["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"]}


def test_rules_are_valid_for_prometheus() -> None:
    """Prometheus would load the rules."""
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_printed_settings_are_valid_for_prometheus(tmp_path: Path) -> None:
    """Each of the page's scrape configurations, with the rules beside it, would be loaded."""
    shown = [document for _, document in yaml_blocks() if "scrape_configs" in document]
    assert shown
    (tmp_path / "alerts.yaml").write_text(RULES.read_text())
    for each in shown:
        for job in each["scrape_configs"]:
            job.pop("kubernetes_sd_configs", None)  # promtool is built without it for the tests
        (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(each))
        done = promtool("check", "config", str(tmp_path / "prometheus.yaml"))
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should(case: Path) -> None:
    """Each scenario fires exactly the alerts listed at each of its times."""
    done = promtool("test", "rules", str(case))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_to_fire_in_a_scenario() -> None:
    """No alert is without a scenario that expects it."""
    told = " ".join(case.read_text() for case in CASES)
    assert {name for name in alert_names() if f'alertname="{name}"' not in told} == set()


@pytest.mark.parametrize("name", sorted(alert_names()))
def test_scenarios_notice_an_alert_that_never_fires(name: str, tmp_path: Path) -> None:
    """With the alert's threshold out of reach at least one scenario fails."""
    document = yaml.safe_load(RULES.read_text())
    for rule in (rule for group in document["groups"] for rule in group["rules"] if rule["alert"] == name):
        rule["expr"] = f"({rule['expr']}) and vector(1) == 0"
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(document))
    for case in CASES:
        document = yaml.safe_load(case.read_text())
        document["tests"] = [each for each in document["tests"] if f'alertname="{name}"' in str(each)]
        (tmp_path / case.name).write_text(yaml.safe_dump(document | {"rule_files": ["rules.yaml"]}))
    scenarios = [str(tmp_path / case.name) for case in CASES]
    assert promtool("test", "rules", *scenarios).returncode != 0


def test_every_alert_has_a_severity_and_says_what_to_do() -> None:
    """A person woken by the alert reads what is wrong and where to look."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"warning", "critical"}
            assert rule["annotations"]["summary"]
            assert rule["annotations"]["description"].endswith(".")


def test_every_alert_leads_to_a_page_of_its_own_that_says_the_same_severity() -> None:
    """There is no page without an alert."""
    pages = {page.stem for page in (ROOT / "docs" / "reference" / "alerts").glob("Mail*.md")}
    assert pages == alert_names()
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            where = rule["annotations"]["runbook_url"]
            text = (ROOT / where).read_text()
            assert text.startswith(f"# {rule['alert']}\n\nSeverity: {rule['labels']['severity']}.")
            for heading in ("**What users see:**", "## Find the cause", "## What to do"):
                assert heading in text, where
