"""Each value of the chart has an effect: one that is changed alone changes what is rendered."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from contracts.render import CHART, helm_binary, helm_template
from contracts.values_page import Value, values

pytestmark = pytest.mark.skipif(helm_binary() is None, reason="Helm is missing: the chart was not rendered")

VALUES: Final = values((CHART / "values.yaml").read_text())
PEM: Final = "-----BEGIN CERTIFICATE-----"
CHANGED: Final[Mapping[str, Any]] = {
    "acme.server": "letsencrypt-staging",
    "acme.email": "postmaster@example.com",
    "acme.caBundle.inline": PEM,
    "acme.caBundle.configMap": {"name": "roots", "key": "ca.pem"},
    "acme.caBundle.secret": {"name": "roots", "key": "ca.pem"},
    "acme.solvers": [{"dns01": {}}],
    "acme.allowedNames": [{"namespaces": ["mail"], "names": ["*"]}],
    "acme.orderLimits": {"letsencrypt": "10/1h"},
    "trust.inline": PEM,
    "trust.configMap": {"name": "roots", "key": "ca.pem"},
    "connections.allowedNetworks": ["10.0.0.0/8"],
    "dnsPolicy": "Default",
    "docsUrl": "https://docs.example.com/{page}/",
    "domains.resolvers": ["192.0.2.53"],
    "extraEnv": [{"name": "A", "value": "b"}],
    "extraArgs": ["--context=other"],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "fullnameOverride": "other",
    "global.imagePullSecrets": [{"name": "registry"}],
    "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["ca.example"]}],
    "http01.service.clusterIP": "10.96.0.80",
    "http01.service.ipFamilyPolicy": "SingleStack",
    "http01.service.type": "NodePort",
    "image.digest": f"sha256:{'0' * 64}",
    "image.pullPolicy": "Always",
    "imagePullSecrets": [{"name": "registry"}],
    "log.format": "text",
    "log.level": "debug",
    "metrics.prometheusRule.disabled": ["MailTlsNotReady"],
    "metrics.podMonitor.interval": "20s",
    "metrics.podMonitor.scrapeTimeout": "5s",
    "metrics.serviceMonitor.interval": "20s",
    "metrics.serviceMonitor.scrapeTimeout": "5s",
    "openshift": "always",
    "probe.clientName": "probe.example.com",
    "probe.interval": "2h",
    "proxy.except": [".example.com"],
    "proxy.http": "http://proxy.example:3128",
    "proxy.https": "http://proxy.example:3128",
    "securityContext.capabilities": {"drop": ["NET_RAW"]},
    "strategy": {"type": "Recreate", "rollingUpdate": None},
    "tracing.endpoint": "http://collector:4318",
    "topologySpreadConstraints": [{"topologyKey": "zone"}],
    "watchNamespaces": ["mail"],
}
"""Where another value than `other` makes sense."""
_PAGE: Final = "statusPage.enabled=true,statusPage.tls.secretName=page-tls"
TOGETHER: Final[Mapping[str, str]] = {
    "acme.solvers": "http01.enabled=true",
    "http01.enabled": "acme.solvers=null",
    "networkPolicy.metricsFrom": "networkPolicy.enabled=true",
    "networkPolicy.egress": "networkPolicy.enabled=true",
    "podDisruptionBudget.enabled": "replicaCount=2",
    "podDisruptionBudget.minAvailable": "podDisruptionBudget.enabled=true,replicaCount=3",
    "proxy.except": "proxy.https=http://proxy.example:3128",
    "networkPolicy.statusPageFrom": f"networkPolicy.enabled=true,{_PAGE}",
    "serviceAccount.create": "serviceAccount.name=own",
    "statusPage.tls.secretName": "statusPage.enabled=true",
    "statusPage.service.annotations": _PAGE,
    "tracing.endpoint": "tracing.enabled=true",
    "tracing.serviceName": "tracing.enabled=true",
    **{
        each.name: f"{monitor}.enabled=true"
        for each in VALUES
        for monitor in ("metrics.serviceMonitor", "metrics.podMonitor", "metrics.prometheusRule", "metrics.dashboard")
        if each.name.startswith(f"{monitor}.") and not each.name.endswith(".enabled")
    },
}
"""What has to be set besides, before and after."""
READ_BY_HELM: Final = {"enabled"}
"""`condition` in the parent chart's Chart.yaml; no template reads it."""


def other(value: Value) -> Any:
    """Return another value than the default."""
    if value.name in CHANGED:
        return CHANGED[value.name]
    match value.default:
        case bool():
            return not value.default
        case int():
            return value.default + 1
        case list():
            return [{"name": "other", "sourceLabels": ["other"]}]
        case dict():
            more = {name: each + 1 for name, each in value.default.items() if isinstance(each, int)}
            return more or value.default | {"other": "other"}
    return "other"


@cache
def before(besides: str) -> str:
    """Render the chart as it is, with what a value needs besides."""
    return rendered("--set", besides)


def after(value: Value, folder: Path) -> str:
    """Render it with the value changed."""
    given: Any = other(value)
    for name in reversed(value.path):
        given = {name: given}
    file = folder / f"{value.name}.yaml"
    file.write_text(json.dumps(given))
    return rendered("--set", TOGETHER.get(value.name, ""), "--values", str(file))


def rendered(*arguments: str) -> str:
    """Return what Helm renders."""
    done = helm_template(*arguments)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


def test_every_value_has_an_effect(tmp_path: Path) -> None:
    """Nobody sets a value that nothing reads."""

    def has_effect(value: Value) -> bool:
        return before(TOGETHER.get(value.name, "")) != after(value, tmp_path)

    asked = [each for each in VALUES if each.name not in READ_BY_HELM]
    with ThreadPoolExecutor(2) as pool:
        without = [value.name for value, has in zip(asked, pool.map(has_effect, asked), strict=True) if not has]
    assert without == []


def test_every_value_is_described() -> None:
    """In a comment right above it, which is a sentence."""
    assert [each.name for each in VALUES if not each.words.strip().endswith((".", ":"))] == []


def test_page_leaves_no_value_out() -> None:
    """Every leaf of values.yaml lies at or below a value that the page lists."""
    listed = {each.path for each in VALUES}

    def leaves(node: Any, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        if path in listed or not isinstance(node, dict):
            return [path]
        return [leaf for name, below in node.items() for leaf in leaves(below, (*path, name))]

    assert set(leaves(yaml.safe_load((CHART / "values.yaml").read_text()), ())) == listed


def objects(*arguments: str) -> list[dict[str, Any]]:
    """Render the chart and return its objects."""
    return [each for each in yaml.safe_load_all(rendered(*arguments)) if each]


def variables(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the environment of the operator's container."""
    (deployment,) = (each for each in found if each["kind"] == "Deployment")
    env: list[dict[str, Any]] = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    return env


def test_openshift_picks_users_and_groups() -> None:
    """Known by its API, or by the value; the rest of the security context stays."""
    for arguments, is_left in (
        ((), True),
        (("--api-versions", "security.openshift.io/v1"), False),
        (("--set", "openshift=always"), False),
        (("--api-versions", "security.openshift.io/v1", "--set", "openshift=never"), True),
    ):
        (pod,) = (each["spec"]["template"]["spec"] for each in objects(*arguments) if each["kind"] == "Deployment")
        picked = {"runAsUser", "runAsGroup", "fsGroup"}
        assert (picked <= pod["securityContext"].keys()) is is_left
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert is_left or picked.isdisjoint(pod["securityContext"])


def test_namespace_can_be_another_than_the_releases() -> None:
    """Nothing is left in the release's, and the roles are bound to the account where it is."""
    found = objects("--set", "namespaceOverride=elsewhere,metrics.serviceMonitor.enabled=true", "--no-hooks")
    assert {each["metadata"].get("namespace", "elsewhere") for each in found} == {"elsewhere"}
    accounts = [subject["namespace"] for each in found for subject in each.get("subjects", ())]
    assert set(accounts) == {"elsewhere"}


def test_labels_of_all_objects_leave_the_selectors_alone() -> None:
    """Also those of the parent chart, which give way to this chart's; what selects pods cannot be changed."""
    theirs, ours = {"commonLabels": {"team": "all", "site": "a"}}, {"team": "mail", "app.kubernetes.io/name": "stolen"}
    given = (f"{name}={json.dumps(value)}" for name, value in (("global", theirs), ("commonLabels", ours)))
    found = objects(*(word for each in given for word in ("--set-json", each)), "--no-hooks")
    own = [each["metadata"]["labels"] for each in found if each["kind"] != "CustomResourceDefinition"]
    assert own
    assert {(each["team"], each["site"], each["app.kubernetes.io/name"]) for each in own} == {("mail", "a", "mailtls")}
    (deployment,) = (each for each in found if each["kind"] == "Deployment")
    assert deployment["spec"]["selector"]["matchLabels"].keys().isdisjoint({"team", "site"})
    assert deployment["spec"]["template"]["metadata"]["labels"]["team"] == "mail"


def test_alerts_link_to_the_documentation_where_the_value_says() -> None:
    """The page of each alert, and that of each reason."""
    base = "docsUrl=https://docs.example.com/0.1/{page}/"
    found = objects("--set", "metrics.prometheusRule.enabled=true", "--set", base)
    (rule,) = (each for each in found if each["kind"] == "PrometheusRule")
    alerts = [each for group in rule["spec"]["groups"] for each in group["rules"]]
    assert len(alerts) > 20
    for each in alerts:
        assert each["annotations"]["runbook_url"] == f"https://docs.example.com/0.1/reference/alerts/{each['alert']}/"
    (endpoint,) = (each for each in alerts if each["alert"] == "MailTlsEndpointFailing")
    assert endpoint["annotations"]["description"].startswith(
        "https://docs.example.com/0.1/reference/reasons/{{ $labels.reason }}/ explains"
    )
    variable = {"name": "MAILTLS_DOCS_URL", "value": "https://docs.example.com/0.1/{page}/"}
    assert variable in variables(found)
    assert "MAILTLS_DOCS_URL" not in {each["name"] for each in variables(objects())}


def test_alert_that_is_disabled_is_left_out_and_an_unknown_one_is_refused() -> None:
    """A name that is misspelt would leave the alert on."""
    monitoring = "metrics.prometheusRule.enabled=true"
    for disabled in ((), ("MailTlsNotReady", "MailTlsQueueOld")):
        switch = ("--set-json", f"metrics.prometheusRule.disabled={json.dumps(disabled)}")
        (rule,) = (each for each in objects("--set", monitoring, *switch) if each["kind"] == "PrometheusRule")
        alerts = {each.get("alert") for group in rule["spec"]["groups"] for each in group["rules"]}
        assert alerts.isdisjoint(disabled)
        assert "MailTlsNotRolledOut" in alerts
    done = helm_template("--set", monitoring, "--set", "metrics.prometheusRule.disabled={MailTlsNotRedy}")
    assert "there is no alert MailTlsNotRedy" in done.stderr


def test_label_for_alerts_is_on_each_and_a_severity_takes_the_place_of_its_own() -> None:
    """Recording rules have none."""
    labels = "metrics.prometheusRule.alertLabels.team=mail,metrics.prometheusRule.alertLabels.severity=info"
    found = objects("--set", f"metrics.prometheusRule.enabled=true,{labels}")
    (rule,) = (each for each in found if each["kind"] == "PrometheusRule")
    alerts = [each["labels"] for group in rule["spec"]["groups"] for each in group["rules"] if "alert" in each]
    assert {(each["team"], each["severity"]) for each in alerts} == {("mail", "info")}


def test_proxy_is_never_between_the_operator_and_its_api_server() -> None:
    """Whatever else is excepted."""
    (pod,) = (
        each["spec"]["template"]["spec"]
        for each in objects("--set", "proxy.https=http://proxy.example:3128,proxy.except={.example.com}")
        if each["kind"] == "Deployment"
    )
    environment = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
    assert environment["HTTPS_PROXY"] == "http://proxy.example:3128"
    excepted = (environment["NO_PROXY"] or "").split(",")
    assert {"$(KUBERNETES_SERVICE_HOST)", ".svc", ".example.com"} <= set(excepted)
