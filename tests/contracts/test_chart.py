"""The chart: what it renders, which values it refuses and with which words."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.render import CHART, ROOT, RULES, alerts, chart_defaults, helm, helm_binary, helm_template
from mailtls.api.installation import Feature
from mailtls.kube.rights import OF_FEATURES

HERE = Path(__file__).parent / "chart"
VALID = sorted(HERE.glob("valid/*.yaml"))
INVALID = sorted(HERE.glob("invalid/*.yaml"))
Objects = Mapping[tuple[str, str], Mapping[str, Any]]

pytestmark = pytest.mark.skipif(helm_binary() is None, reason="Helm is missing: the chart was not rendered")


def render(*arguments: str) -> Objects:
    """Render the chart and return its objects by kind and name."""
    done = helm_template(*arguments)
    assert done.returncode == 0, done.stderr
    found = [each for each in yaml.safe_load_all(done.stdout) if each]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def pod_of(objects: Objects) -> Mapping[str, Any]:
    """Return the pod template's spec of the one Deployment."""
    (deployment,) = (each for (kind, _), each in objects.items() if kind == "Deployment")
    pod: Mapping[str, Any] = deployment["spec"]["template"]["spec"]
    return pod


def test_prometheus_finds_the_pods_by_the_labels_and_the_port_that_the_documentation_names() -> None:
    """The rules keep the port of the metrics of a pod that has not ended, and no other one."""
    page = (ROOT / "docs/how-to/metrics-and-alerts.md").read_text("utf-8")
    (snippet,) = (each for each in re.findall(r"(?s)```yaml\n(.+?)```", page) if "kubernetes_sd_configs" in each)
    (job,) = yaml.safe_load(snippet)["scrape_configs"]
    template = render("--set", "statusPage.enabled=true")["Deployment", "mailtls"]["spec"]["template"]
    labels = {
        f"pod_label_{re.sub('[^a-z]', '_', name)}": value for name, value in template["metadata"]["labels"].items()
    }
    ports = [each["name"] for each in template["spec"]["containers"][0]["ports"]]
    found = [
        {
            f"__meta_kubernetes_{k}": v
            for k, v in {**labels, "pod_phase": phase, "pod_container_port_name": each}.items()
        }
        for each in ports
        for phase in ("Pending", "Running", "Succeeded", "Failed", "Unknown")
    ]
    kept = [
        (each["__meta_kubernetes_pod_container_port_name"], each["__meta_kubernetes_pod_phase"])
        for each in found
        if all(
            bool(re.fullmatch(rule["regex"], each[rule["source_labels"][0]])) == (rule["action"] == "keep")
            for rule in job["relabel_configs"]
        )
    ]
    assert kept == [("metrics", "Pending"), ("metrics", "Running"), ("metrics", "Unknown")]
    assert len(ports) > 1


def environment_of(objects: Objects) -> Mapping[str, str]:
    """Return the operator's plain environment variables."""
    return {each["name"]: each["value"] for each in pod_of(objects)["containers"][0]["env"] if "value" in each}


@pytest.mark.parametrize("values", VALID, ids=lambda path: path.stem)
def test_valid_values_render_to_objects_of_distinct_names(values: Path) -> None:
    """Each file of values that uses options off by default renders, and no object appears twice."""
    done = helm_template("--values", str(values))
    assert done.returncode == 0, done.stderr
    found = [each for each in yaml.safe_load_all(done.stdout) if each]
    names = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in found]
    assert len(names) == len(set(names)) > 0


@pytest.mark.parametrize("values", INVALID, ids=lambda path: path.stem)
def test_invalid_values_are_refused_with_the_message_beside_them(values: Path) -> None:
    """Each mistake is refused, in the words that the file beside it holds."""
    done = helm_template("--values", str(values))
    assert done.returncode != 0
    assert values.with_suffix(".message").read_text().strip() in done.stderr


def test_default_pod_meets_the_restricted_pod_security_standard() -> None:
    """Pod and container carry what the `restricted` standard wants, and a read-only root besides."""
    pod = pod_of(render())
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert [each["name"] for each in pod["volumes"] if "emptyDir" in each] == ["tmp"]


def test_release_job_is_the_operator_with_another_command() -> None:
    """The same image, settings, trust and rights, and a Job of Helm's that no Service takes for a replica."""
    values = str(HERE / "valid" / "private-authority.yaml")
    objects = render("--values", values)
    job, pod = objects["Job", "mailtls-uninstall"], pod_of(objects)
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    released = job["spec"]["template"]["spec"]
    differ = ("name", "args", "ports", "livenessProbe", "readinessProbe")
    one, other = (each["containers"][0] for each in (pod, released))
    assert {**one, **dict.fromkeys(differ)} == {**other, **dict.fromkeys(differ)}
    assert other["args"] == ["uninstall"]
    assert released["restartPolicy"] == "Never"
    replicas_only = {"containers": None, "restartPolicy": None, "topologySpreadConstraints": None}
    assert {**released, **replicas_only} == {**pod, **replicas_only}
    labels = job["spec"]["template"]["metadata"]["labels"].items()
    services = (each["spec"] for (kind, _), each in objects.items() if kind == "Service")
    selectors = [service["selector"] for service in services if "selector" in service]
    assert selectors
    assert not any(selector.items() <= labels for selector in selectors)


def test_release_job_can_be_left_out() -> None:
    """Neither the switch nor the plain manifest has it."""
    assert ("Job", "mailtls-uninstall") not in render("--set", "preDeleteHook.enabled=false")
    assert ("Job", "mailtls-uninstall") not in render("--no-hooks")


def test_crd_in_the_chart_is_the_repository_one_and_kept_on_uninstall() -> None:
    """The CustomResourceDefinition is crds/ word for word, with the annotations that make Helm and Argo CD keep it."""
    rendered = dict(render()["CustomResourceDefinition", "mailservertls.mailtls.dev"])
    source = yaml.safe_load((ROOT / "crds" / "mailservertls.yaml").read_text())
    metadata = dict(rendered["metadata"])
    kept = {"helm.sh/resource-policy": "keep", "argocd.argoproj.io/sync-options": "Prune=false"}
    assert metadata.pop("annotations") == kept
    assert rendered | {"metadata": metadata} == source


def test_chart_has_no_symbolic_link() -> None:
    """Flux leaves links out of what it takes from Git, and the chart would install less than it says."""
    assert not [each for each in CHART.rglob("*") if each.is_symlink()]


def test_crd_can_be_left_to_others_or_go_with_the_chart() -> None:
    """Not installed at all, or without the annotation that makes Helm keep it."""
    name = ("CustomResourceDefinition", "mailservertls.mailtls.dev")
    assert name not in render("--set", "crds.enabled=false")
    source = yaml.safe_load((ROOT / "crds" / "mailservertls.yaml").read_text())
    assert render("--set", "crds.keep=false")[name] == source


def test_watched_namespaces_get_roles_and_no_cluster_role() -> None:
    """With watchNamespaces nothing is granted beyond these namespaces and the operator's own."""
    done = helm_template("--set", "watchNamespaces={mail,lists}", "--set", "crds.enabled=false")
    objects = [each for each in yaml.safe_load_all(done.stdout) if each]
    roles = {each["metadata"]["namespace"] for each in objects if each["kind"] == "Role"}
    assert roles == {"mail", "lists", "mailtls"}
    assert not [each["kind"] for each in objects if each["kind"].startswith("ClusterRole")]


def rights_of(objects: Objects) -> set[tuple[str, str]]:
    """Return what the operator's ClusterRole grants: (resource, verb)."""
    rules = objects["ClusterRole", "mailtls"]["rules"]
    return {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


@pytest.mark.parametrize(
    ("feature", "lost"),
    [
        ("issuance", {("secrets", "create"), ("secrets", "patch")}),
        ("exec", {("pods", "get"), ("pods", "patch"), ("pods/exec", "create"), ("pods/exec", "get")}),
        (
            "restarts",
            {("pods", "delete"), ("deployments", "patch"), ("statefulsets", "patch"), ("daemonsets", "patch")},
        ),
        ("evictions", {("pods/eviction", "create")}),
        ("services", {("services", "list")}),
        ("domains", set()),
        ("customReloads", set()),
    ],
)
def test_feature_that_is_off_takes_its_verbs_away_and_is_told_to_the_operator(
    feature: str, lost: set[tuple[str, str]]
) -> None:
    """These verbs and no others; each value is a feature that the operator knows, and all are on by default."""
    whole, without = render(), render("--set", f"features.{feature}=false")
    assert rights_of(whole) - rights_of(without) == lost
    assert rights_of(without) < rights_of(whole) or not lost
    assert "MAILTLS_DISABLED_FEATURES" not in environment_of(whole)
    assert environment_of(without)["MAILTLS_DISABLED_FEATURES"] == feature
    assert set(chart_defaults()["features"]) == set(Feature)
    assert {(right.resource, right.verb) for right in OF_FEATURES.get(Feature(feature), ())} == lost


def test_several_features_are_off_together_also_with_roles_in_namespaces() -> None:
    """Roles of `watchNamespaces` hold the same rules."""
    objects = render("--set", "features.exec=false,features.services=false", "--set", "watchNamespaces={mail}")
    assert environment_of(objects)["MAILTLS_DISABLED_FEATURES"] == "exec,services"
    granted = {resource for rule in objects["Role", "mailtls"]["rules"] for resource in rule["resources"]}
    assert granted.isdisjoint({"pods/exec", "services"})


def test_people_see_and_write_resources_by_the_roles_that_they_have() -> None:
    """`view` sees them, `edit` and `admin` also write them; nobody writes the status, nor gets any other right."""
    objects = render()
    label = "rbac.authorization.k8s.io/aggregate-to-"
    for name, verbs, roles in (
        ("mailtls-view", {"get", "list", "watch"}, {"view", "edit", "admin"}),
        ("mailtls-edit", {"create", "update", "patch", "delete", "deletecollection"}, {"edit", "admin"}),
    ):
        role = objects["ClusterRole", name]
        aggregated = {each.removeprefix(label) for each in role["metadata"]["labels"] if each.startswith(label)}
        assert aggregated == roles
        (rule,) = role["rules"]
        assert (rule["apiGroups"], rule["resources"], set(rule["verbs"])) == (["mailtls.dev"], ["mailservertls"], verbs)
    bound = {each["roleRef"]["name"] for (kind, _), each in objects.items() if kind.endswith("RoleBinding")}
    assert bound.isdisjoint({"mailtls-view", "mailtls-edit"})


def test_roles_for_people_can_be_left_out() -> None:
    """By their switch, and where the installation makes nothing else for the whole cluster."""
    for switch in ("rbac.aggregate=false", "watchNamespaces={mail},crds.enabled=false", "rbac.create=false"):
        assert ("ClusterRole", "mailtls-view") not in render("--set", switch)


def test_roles_hold_no_wildcard() -> None:
    """Every rule names its groups, resources and verbs."""
    for (kind, _), each in render().items():
        if kind in {"Role", "ClusterRole"}:
            assert "*" not in str(each["rules"])


def test_inline_bundles_are_mounted_where_the_environment_points() -> None:
    """The file named by the environment lies in a mounted volume, and a changed bundle restarts the pods."""
    pem = "-----BEGIN CERTIFICATE-----"
    objects = render("--set", f"acme.caBundle.inline={pem}", "--set", f"trust.inline={pem}")
    environment, pod = environment_of(objects), pod_of(objects)
    mounts = {each["mountPath"]: each["name"] for each in pod["containers"][0]["volumeMounts"]}
    for variable in ("MAILTLS_ACME_CA_BUNDLE_FILE", "MAILTLS_TRUST_BUNDLE_FILE"):
        folder, _, file = environment[variable].rpartition("/")
        (volume,) = (each for each in pod["volumes"] if each["name"] == mounts[folder])
        assert [each["path"] for each in volume["configMap"]["items"]] == [file]
        assert objects["ConfigMap", "mailtls"]["data"][file] == pem
    other = render("--set", f"acme.caBundle.inline={pem}2", "--set", f"trust.inline={pem}")
    annotations = [
        each["Deployment", "mailtls"]["spec"]["template"]["metadata"]["annotations"] for each in (objects, other)
    ]
    assert annotations[0] != annotations[1]


def test_http01_service_is_open_to_the_endpoint_slice_of_the_leader() -> None:
    """The Service has no selector, leads from port 80 to the operator's, and the environment names it."""
    objects = render()
    service = objects["Service", environment_of(objects)["MAILTLS_HTTP01_SERVICE"]]
    assert "selector" not in service["spec"]
    (port,) = service["spec"]["ports"]
    assert (port["port"], str(port["targetPort"])) == (80, environment_of(objects)["MAILTLS_HTTP01_PORT"])


def test_prometheus_rule_holds_the_same_alerts_as_the_plain_file() -> None:
    """The PrometheusRule with default thresholds is deploy/alerts.yaml."""
    rule = render("--set", "metrics.prometheusRule.enabled=true")["PrometheusRule", "mailtls"]
    assert rule["spec"] == yaml.safe_load(alerts())


def test_every_threshold_of_the_values_reaches_the_rules() -> None:
    """Each threshold of values.yaml is read by a rule, and a changed one is rendered."""
    for name in chart_defaults()["metrics"]["prometheusRule"]["thresholds"]:
        assert f"${{{name}}}" in RULES.read_text()
    changed = ("--set", "metrics.prometheusRule.thresholds.expiryWarningDays=21")
    rule = render("--set", "metrics.prometheusRule.enabled=true", *changed)["PrometheusRule", "mailtls"]
    assert str(rule["spec"]).count("< 21 * 86400") == 2
    assert "${" not in str(rule["spec"])


def test_dashboard_is_a_config_map_that_grafanas_sidecar_takes() -> None:
    """Word for word the file, under the label that the sidecar looks for by default, and only where it is wanted."""
    name = ("ConfigMap", "mailtls-dashboard")
    assert name not in render()
    made = render("--set", "metrics.dashboard.enabled=true,metrics.dashboard.namespace=grafana")[name]
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert made["metadata"]["namespace"] == "grafana"
    assert made["data"] == {"mailtls.json": (ROOT / "charts/mailtls/files/dashboard.json").read_text()}


def test_status_page_is_off_and_where_it_has_no_certificate_nothing_leads_to_it() -> None:
    """No port, no right and no Service by default; a Service only where a token is not sent in clear text."""
    named = ("Service", "mailtls-status-page")
    review = ("ClusterRoleBinding", "mailtls-status-page")
    off, plain = render(), render("--set", "statusPage.enabled=true")
    secured = render("--set", "statusPage.enabled=true,statusPage.tls.secretName=page-tls")
    assert "MAILTLS_STATUS_PAGE_PORT" not in environment_of(off)
    assert [review in each for each in (off, plain, secured)] == [False, True, True]
    assert [named in each for each in (off, plain, secured)] == [False, False, True]
    assert secured[review]["roleRef"]["name"] == "system:auth-delegator"
    (volume,) = (each for each in pod_of(secured)["volumes"] if each["name"] == "status-page")
    assert volume["secret"] == {"secretName": "page-tls", "optional": True}
    (mount,) = (each for each in pod_of(secured)["containers"][0]["volumeMounts"] if each["name"] == "status-page")
    assert mount["mountPath"] == environment_of(secured)["MAILTLS_STATUS_PAGE_CERTIFICATE"]


def test_notes_show_a_resource_that_the_installation_serves() -> None:
    """Without issuance it is one for a Secret that somebody else writes, and nothing is said of HTTP-01."""

    def notes(*arguments: str) -> str:
        done = helm("install", "mailtls", str(CHART), "--dry-run=client", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.partition("\nNOTES:\n")[2]

    usual, external = notes(), notes("--set", "features.issuance=false")
    assert "Order a certificate" in usual
    assert "HTTP-01" in usual
    assert "external: {}" not in usual
    assert "external: {}" in external
    assert "Order a certificate" not in external
    assert "HTTP-01" not in external
    by_dns = {"rfc2136": {"server": "ns1.example.com", "tsigKeyName": "m", "tsigSecretRef": {"name": "t", "key": "s"}}}
    assert "HTTP-01" not in notes("--set-json", f"acme.solvers={json.dumps([{'dns01': by_dns}])}")
    limited = notes("--set", "watchNamespaces={lists,mail}", "--set", "image.repository=registry.example.com/mailtls")
    assert "namespace: lists}" in limited
    assert "kubectl -n lists get mst" in limited
    assert "namespace: mail}" in usual
    assert "helm test mailtls --namespace default --logs" in usual
    assert "set image.repository" in usual
    assert "set image.repository" not in limited


def test_readme_of_the_chart_installs_as_that_of_the_project_and_names_real_values() -> None:
    """`helm show readme` prints it: one command, the values to set first, and links that lead somewhere."""
    text = helm("show", "readme", str(CHART)).stdout
    (command,) = re.findall(r"(?s)```console\n(.*?)```", text)
    assert command in (ROOT / "README.md").read_text("utf-8")
    for value in re.findall(r"(?m)^\| `([\w.]+)`", text):
        parts = value.split(".")
        assert parts[1] in chart_defaults()[parts[0]]
    assert [link for link in re.findall(r"\]\(([^)]+)\)", text) if not (CHART / link).exists()] == []
