"""Writes the files that are made from others: `python tests/contracts/render.py` (with `--check`: only compares).

deploy/mailtls.yaml comes from the chart (by Helm), deploy/alerts.yaml from the chart's rules and values,
charts/mailtls/files/dashboard.json from `dashboard.py` beside this, docs/reference/reasons.md from
`mailtls.reasons.explanations`, docs/reference/chart-values.md from the chart's values.yaml, resource.md
beside it from the CRD, the pages of metrics, alerts, environment and commands from the operator, and the package has
a copy of the CRD, by which preflight checks.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "mailtls"
RULES = CHART / "files" / "alerts.yaml"
MANIFEST_HEAD = """\
# The operator for those without Helm: `kubectl apply --server-side -f crds/ -f deploy/mailtls.yaml`.
# Made from charts/mailtls with its default values; do not edit.
apiVersion: v1
kind: Namespace
metadata:
  name: mailtls
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""
ALERTS_HEAD = """\
# Alert rules for a Prometheus without the Prometheus Operator: name this file under `rule_files`. For links that
# open, put the address of this repository before `docs/`.
# Made from charts/mailtls/files/alerts.yaml with the chart's default values; change that file.
"""
REASONS_HEAD = """\
# Reasons

Conditions, events, metric labels and `status.endpoints` share these words. Each has its cause and something to try.
While a resource is not Ready, its recovery decides whether it has the condition `Reconciling` (automatic) or `Stalled`
(a person has to act). Three orders in a row that fail for one reason make it Stalled, too, except for `RateLimited`.
This page is made from `operator/mailtls/reasons/explanations/`; do not edit it.
"""


def helm_binary() -> str | None:
    """Where Helm is: `$HELM`, or the `helm` on the path; None without one."""
    return shutil.which(os.environ.get("HELM", "helm"))


def helm_template(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Render the chart as release `mailtls` in namespace `mailtls`; never touches a cluster."""
    helm = helm_binary()
    if helm is None:
        sys.exit("Helm is missing: install it, or name it in $HELM.")
    command = [helm, "template", "mailtls", str(CHART), "--namespace", "mailtls", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def chart_defaults() -> dict[str, Any]:
    """Return the chart's values.yaml."""
    defaults: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return defaults


def manifest() -> str:
    """Return deploy/mailtls.yaml: the chart without the marks of Helm, in a namespace of its own."""
    done = helm_template("--set", "crds.enabled=false", "--no-hooks")
    done.check_returncode()
    marks = r"(?m)^(# Source: .*|\s+(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*)\n"
    text = re.sub(marks, "", done.stdout)
    return MANIFEST_HEAD + re.sub(r"\n{2,}", "\n", text)


def alerts() -> str:
    """Return deploy/alerts.yaml: the rules with the chart's default thresholds."""
    text = re.sub(r"(?m)^#.*\n", "", RULES.read_text())
    values = chart_defaults()
    for name, value in values["metrics"]["prometheusRule"]["thresholds"].items():
        text = text.replace(f"${{{name}}}", str(value))
    text = re.sub(r"\$\{page ([^}]+)\}", lambda match: str(values["docsUrl"]).replace("{page}", match[1]), text)
    return ALERTS_HEAD + text


def reasons() -> str:
    """Return docs/reference/reasons.md: one entry for each reason, in the order in which a certificate lives."""
    sys.path.insert(0, str(ROOT / "operator"))
    from mailtls.reasons.explanations import EXPLANATIONS, SECTIONS  # noqa: PLC0415 - a script first finds it

    lines = [REASONS_HEAD]
    for title, members in SECTIONS.items():
        lines.append(f"## {title}\n")
        lines += [entry(reason, EXPLANATIONS[reason]) for reason in members]
    return "\n".join(lines)


def entry(reason: Any, told: Any) -> str:
    """Return what docs/reference/reasons.md says of one reason; what nobody has written is left out."""
    sys.path.insert(0, str(ROOT / "tests"))
    from contracts.values_page import prose  # noqa: PLC0415 - a script first finds it
    from mailtls.reasons.advice import settings_for  # noqa: PLC0415 - a script finds the package first
    from mailtls.reasons.recovery import RECOVERIES  # noqa: PLC0415
    from mailtls.reasons.software import product_name  # noqa: PLC0415

    by_server = [f"**{product_name(software)}:** {how}" for software, how in settings_for(reason).items()]
    seen_in = [told.rfc] * bool(told.rfc) + [f"TLS reports: `{told.tlsrpt}`"] * bool(told.tlsrpt)
    parts = [
        f"### {reason}",
        told.meaning,
        f"**What users see:** {told.symptom}" if told.symptom else "",
        f"**At ports for mail programs:** {told.mailbox_symptom}" if told.mailbox_symptom else "",
        f"**What to do:** {told.fix}",
        f"**Recovery:** {RECOVERIES[reason]}",
        *by_server,
        f"*{'; '.join(seen_in)}*" if seen_in else "",
    ]
    return prose("\n\n".join(part for part in parts if part)) + "\n"


def definition() -> str:
    """Return the CRD, which preflight reads in the package."""
    return (ROOT / "crds" / "mailservertls.yaml").read_text()


def chart_values() -> str:
    """Return docs/reference/chart-values.md."""
    sys.path.insert(0, str(ROOT / "tests"))
    from contracts.values_page import page  # noqa: PLC0415 - a script first finds it

    return page((CHART / "values.yaml").read_text())


def resource() -> str:
    """Return docs/reference/resource.md."""
    sys.path.insert(0, str(ROOT / "tests"))
    from contracts.resource_page import page  # noqa: PLC0415 - a script first finds it

    return page(definition())


def of_operator(name: str) -> str:
    """Return a page that is made from the operator's code."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "operator")]
    from contracts import operator_pages  # noqa: PLC0415 - a script first finds it

    if name == "alerts":
        return operator_pages.alerts_page(alerts(), ROOT / "docs" / "reference" / "alerts")
    made: str = getattr(operator_pages, f"{name}_page")()
    return made


def tested() -> str:
    """Return docs/reference/tested.md."""
    sys.path.insert(0, str(ROOT / "tests"))
    from contracts.tested import page  # noqa: PLC0415 - a script first finds it

    return page()


def grafana() -> str:
    """Return the dashboard."""
    sys.path.insert(0, str(ROOT / "tests"))
    from contracts.dashboard import dashboard  # noqa: PLC0415 - a script first finds it

    return dashboard()


GENERATED: Mapping[str, Callable[[], str]] = {
    "deploy/mailtls.yaml": manifest,
    "deploy/alerts.yaml": alerts,
    "charts/mailtls/files/dashboard.json": grafana,
    "docs/reference/reasons.md": reasons,
    "docs/reference/chart-values.md": chart_values,
    "docs/reference/resource.md": resource,
    **{f"docs/reference/{name}.md": partial(of_operator, name) for name in ("metrics", "environment", "commands")},
    "docs/reference/alerts/README.md": partial(of_operator, "alerts"),
    "docs/reference/tested.md": tested,
    "operator/mailtls/cli/preflight/mailservertls.yaml": definition,
}


def outdated(names: Iterable[str] = tuple(GENERATED)) -> list[str]:
    """Return which of the generated files differ from what they are made from."""
    return [name for name in names if not (ROOT / name).exists() or (ROOT / name).read_text() != GENERATED[name]()]


def main() -> int:
    """Write or check all generated files."""
    stale = outdated()
    if "--check" not in sys.argv[1:]:
        for name in stale:
            (ROOT / name).write_text(GENERATED[name]())
            print(f"wrote {name}")
        return 0
    for name in stale:
        print(f"{name} is out of date: run python tests/contracts/render.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
