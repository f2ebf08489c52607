"""Writes the files that are made from others: `python tests/contracts/render.py` (with `--check`: only compares).

deploy/mailtls.yaml comes from the chart (by Helm), deploy/alerts.yaml from the chart's rules and values,
charts/mailtls/files/dashboard.json from `dashboard.py` beside this, docs/reference/reasons.md and the page of each
reason from `mailtls.reasons`, docs/reference/chart-values.md from the chart's values.yaml, resource.md
beside it from the CRD, rbac.md from the chart's roles, the pages of metrics, alerts, environment and commands from the
operator. The chart has a copy of the CRD, and the package another, by which preflight checks.
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
REASONS = "docs/reference/reasons"
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


def helm_binary() -> str | None:
    """Where Helm is: `$HELM`, or the `helm` on the path; None without one."""
    return shutil.which(os.environ.get("HELM", "helm"))


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Helm that touches no cluster."""
    binary = helm_binary()
    if binary is None:
        sys.exit("Helm is missing: install it, or name it in $HELM.")
    return subprocess.run([binary, *arguments], capture_output=True, text=True, check=False)


def helm_template(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Render the chart as release `mailtls` in namespace `mailtls`."""
    return helm("template", "mailtls", str(CHART), "--namespace", "mailtls", *arguments)


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
    page = r"\$\{page ((?:[^{}]|\{\{[^}]+\}\})+)\}"  # what Prometheus fills in may be in it
    text = re.sub(page, lambda match: str(values["docsUrl"]).replace("{page}", match[1]), text)
    return ALERTS_HEAD + text


def reasons() -> str:
    """Return docs/reference/reasons.md."""
    made: str = _reason_pages().index()
    return made


def _reason_pages() -> Any:
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "operator")]
    from contracts import reason_pages  # noqa: PLC0415 - a script first finds it

    return reason_pages


def definition() -> str:
    """Return the CRD, of which the chart and the package have copies."""
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


def rights() -> str:
    """Return docs/reference/rbac.md."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "operator")]
    from contracts.rights_page import page  # noqa: PLC0415 - a script first finds it

    return page(manifest(), helm_template("--set", "rbac.argoRollouts=true").stdout)


def grafana() -> str:
    """Return the dashboard."""
    sys.path.insert(0, str(ROOT / "tests"))
    from contracts.dashboard import dashboard  # noqa: PLC0415 - a script first finds it

    return dashboard()


GENERATED: Mapping[str, Callable[[], str]] = {
    "deploy/mailtls.yaml": manifest,
    "deploy/alerts.yaml": alerts,
    "charts/mailtls/files/crds/mailservertls.yaml": definition,
    "charts/mailtls/files/dashboard.json": grafana,
    "docs/reference/reasons.md": reasons,
    "docs/reference/chart-values.md": chart_values,
    "docs/reference/resource.md": resource,
    **{f"docs/reference/{name}.md": partial(of_operator, name) for name in ("metrics", "environment", "commands")},
    "docs/reference/alerts/README.md": partial(of_operator, "alerts"),
    "docs/reference/rbac.md": rights,
    "docs/reference/tested.md": tested,
    "operator/mailtls/cli/preflight/mailservertls.yaml": definition,
}


def generated() -> dict[str, Callable[[], str]]:
    """Return what makes each file: those above, and the page of each reason."""
    made: Mapping[str, str] = _reason_pages().pages()
    return {**GENERATED, **{name: partial(made.__getitem__, name) for name in made}}


def outdated(names: Iterable[str] | None = None) -> list[str]:
    """Return which of the generated files differ from what they are made from; of all, also pages of no reason."""
    makers = generated()
    stale = [name for name in names or makers if not _is_current(ROOT / name, makers[name])]
    pages = (str(page.relative_to(ROOT)) for page in (ROOT / REASONS).glob("*.md")) if names is None else ()
    return [*stale, *(page for page in pages if page not in makers)]


def _is_current(path: Path, maker: Callable[[], str]) -> bool:
    return path.exists() and path.read_text() == maker()


def main() -> int:
    """Write or check all generated files."""
    stale, makers = outdated(), generated()
    if "--check" not in sys.argv[1:]:
        for name in stale:
            _write(ROOT / name, makers.get(name))
            print(f"wrote {name}" if name in makers else f"deleted {name}")
        return 0
    for name in stale:
        print(f"{name} is out of date: run python tests/contracts/render.py", file=sys.stderr)
    return 1 if stale else 0


def _write(path: Path, maker: Callable[[], str] | None) -> None:
    if maker is None:
        path.unlink()
        return
    path.parent.mkdir(exist_ok=True)
    path.write_text(maker())


if __name__ == "__main__":
    raise SystemExit(main())
