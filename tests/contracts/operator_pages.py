"""Pages of the reference that are made from the operator's own code: metrics, alerts, environment and commands."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import typer.main
import yaml

from contracts.values_page import BAR, cell
from mailtls.cli.app import app
from mailtls.metrics import Metrics
from mailtls.settings import Settings

METRICS_HEAD: Final = """\
# Metrics

What each replica serves at `/metrics`, port 8080. This page is made from the operator; do not edit it. How to scrape it:
[metrics and alerts](../how-to/metrics-and-alerts.md).

Times are Unix seconds. Series stay after an expiry, while a port does not answer and while its pod is not ready; they go when the
resource or the pod is gone. What [`spec.probe.from`](probe.md#from-where) adds has a `pod` such as `Service/postfix` or
`Public/mx1.example.com`, the latter with an empty `workload`.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
"""
METRICS_FOOT: Final = """\
| `process_*`, `python_gc_*`, `python_info` | gauge, counter | | Memory, CPU, open files and garbage collection of the operator, as every Prometheus client shows them. |

Labels are names, ports and reasons from [a fixed list](reasons.md), never text that somebody else wrote. [Sizing](../explanation/sizing.md#metrics)
says how many series there are.
"""
ALERTS_HEAD: Final = """\
# Alerts

Every alert of the chart and of `deploy/alerts.yaml`, with a page that says what users see, how to find the cause and what to do. The
alert's annotation `runbook_url` leads to that page. This list is made from the rules and these pages; do not edit it. How to load the
rules, and how to get one notification for one fault: [metrics and alerts](../../how-to/metrics-and-alerts.md#alerts).

| alert | severity | fires when |
| --- | --- | --- |
"""
ENVIRONMENT_HEAD: Final = """\
# Environment variables

Every setting of the operator (`mailtls run`). The chart sets them from its values; without Helm, set them in the Deployment. A variable
that is empty counts as not set, and one that makes no sense stops the operator with a sentence that names it. This page is made from
`operator/mailtls/settings.py`; do not edit it.

| variable | default | chart value | meaning |
| --- | --- | --- | --- |
"""
COMMANDS_HEAD: Final = """\
# Commands

Every command and option of `mailtls`, which is also `kubectl mailtls` when it is on the path as `kubectl-mailtls`. This page is made from
the command line; do not edit it. With examples and more words: [for a cluster](cluster-cli.md), [for any mail server](probe-cli.md).
"""
_VARIABLES: Final[Mapping[str, tuple[str, str]]] = {
    "POD_NAME": ("", "The pod's name: the replica's name in the election of the leader."),
    "POD_IP": ("", "The pod's address, where HTTP-01 challenges are answered."),
    "POD_UID": ("", "The pod that the endpoint of the HTTP-01 Service goes with."),
    "NODE_NAME": ("", "The node, for the endpoint of the HTTP-01 Service."),
    "KUBECONFIG": ("", "The kubeconfig of an operator that runs outside of a cluster."),
    "KUBERNETES_SERVICE_HOST": ("", "The API server's address, set by Kubernetes. It is never dialled on somebody else's word."),
    "MAILTLS_NAMESPACE": ("", "The operator's own namespace. Default: that of its service account."),
    "MAILTLS_LEASE": ("", "Name of the Lease by which the leader is elected."),
    "MAILTLS_WATCH_NAMESPACES": ("watchNamespaces", "Serve only these namespaces, with commas between them. Default: all."),
    "MAILTLS_MAX_CONCURRENT_RECONCILES": ("maxConcurrentReconciles", "How many resources are worked on at a time."),
    "MAILTLS_MAX_CONCURRENT_ROLLOUTS": ("rollout.maxConcurrent", "How many resources roll out at a time. Default: no limit."),
    "MAILTLS_PROBE_CONCURRENCY": ("probe.concurrency", "How many ports are probed at a time."),
    "MAILTLS_PROBE_INTERVAL": ("probe.interval", "How often every port is probed, such as 1h, where a resource does not say."),
    "MAILTLS_PROBE_CLIENT_NAME": ("probe.clientName", "The name by which the probe greets SMTP and LMTP servers. Default: the pod's address."),
    "MAILTLS_LOG_FORMAT": ("log.format", "`json` for machines, `text` for people."),
    "MAILTLS_LOG_LEVEL": ("log.level", "`debug`, `info`, `warning` or `error`."),
    "MAILTLS_METRICS_PORT": ("", "Port of `/metrics`, `/healthz` and `/readyz`."),
    "MAILTLS_HTTP01_PORT": ("", "Port at which HTTP-01 challenges are answered."),
    "MAILTLS_HTTP01_SERVICE": ("http01.enabled", "The Service whose endpoint the leader writes. Without it there is no HTTP-01."),
    "MAILTLS_STATUS_PAGE_PORT": ("statusPage.enabled", "Port of the status page. Without it there is none."),
    "MAILTLS_STATUS_PAGE_CERTIFICATE": (
        "statusPage.tls.secretName",
        "Folder with `tls.crt` and `tls.key` of the status page. Default: it is served without TLS, on loopback only.",
    ),
    "MAILTLS_ACME_SERVER": ("acme.server", "The ACME server of resources that name none."),
    "MAILTLS_ACME_EMAIL": ("acme.email", "Where the CA may write about the account."),
    "MAILTLS_ACME_CA_BUNDLE_FILE": ("acme.caBundle", "File with roots, in PEM, for the https of the ACME server."),
    "MAILTLS_ACME_SOLVERS": ("acme.solvers", "Solvers in JSON, in the shape of `spec.acme.solvers`."),
    "MAILTLS_ACME_ALLOWED_NAMES": ("acme.allowedNames", 'Which namespaces may order which names, in JSON: `[{"namespaces": ["mail"], "names": ["*.example.com"]}]`. Default: all may order all.'),
    "MAILTLS_ACME_ORDER_LIMITS": ("acme.orderLimits", 'Orders that each CA takes from an account, in JSON: `{"letsencrypt": "300/3h"}`. `none` lifts a limit.'),
    "MAILTLS_TRUST_BUNDLE_FILE": ("trust", "File with roots, in PEM, that the probe trusts besides the public ones."),
    "MAILTLS_RESOLVERS": ("domains.resolvers", "Validating resolvers that are asked what mail domains publish, with commas between them: `10.0.0.53,[2001:db8::53]:5353`. Default: the system's, whose word on DNSSEC does not count."),
    "MAILTLS_ALLOWED_NETWORKS": ("connections.allowedNetworks", "Networks that may be dialled whatever they are, with commas between them: `10.20.0.0/16,192.0.2.7`."),
    "MAILTLS_PRIVATE_SERVERS": ("connections.privateServers", "Whether ACME and DNS servers may be at private addresses."),
    "MAILTLS_PRIVATE_PUBLIC_HOSTS": ("connections.privatePublicHosts", "Whether what should be on the internet may be at private addresses."),
    "MAILTLS_DOCS_URL": ("docsUrl", "Where this documentation is, with `{page}` in it: `status.docsURL` says so, and while `Ready` is False its message ends with a link to its reason. Default: neither."),
    "MAILTLS_DISABLED_FEATURES": ("features", "Features that are off, with commas between them: `issuance,exec,customReloads,restarts,evictions,services,domains`. Take their verbs out of the roles too: [rights](rbac.md#switching-features-off)."),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("tracing.endpoint", "Where [traces](../how-to/traces.md) are sent to. Default: nowhere. Other variables of OpenTelemetry count too."),
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ("", "The same, with the whole path, and before it."),
    "OTEL_SDK_DISABLED": ("", "`true` switches traces off whatever else is set."),
    "OTEL_TRACES_EXPORTER": ("", "`none` does so too."),
}  # fmt: skip
_OF_LIBRARIES: Final[Mapping[str, tuple[str, str]]] = {
    "HTTPS_PROXY": ("proxy.https", "The proxy by which ACME servers are reached."),
    "HTTP_PROXY": ("proxy.http", "The same for `http://`."),
    "NO_PROXY": ("proxy.except", "What is never reached by them, with commas between the names: `localhost,10.96.0.1,.svc,.cluster.local`. Name the API server's address."),
    "SSL_CERT_FILE": ("", "File with the public roots, in PEM, instead of the system's."),
    "SSL_CERT_DIR": ("", "The same for a folder of roots, named by their hashes."),
}  # fmt: skip
"""What nothing in the settings reads, but Python and what it connects with."""
_FIELDS: Final = {"KUBERNETES_SERVICE_HOST": "api_server"}


def metrics_page() -> str:
    """Return docs/reference/metrics.md: the resources' metrics first, then the operator's."""
    rows = [
        f"| `{name}` | {kind} | {', '.join(labels)} | {cell(_sentence(words))} |"
        for name, kind, labels, words in metrics()
        if name.startswith("mailtls_")
    ]
    return METRICS_HEAD + "\n".join(rows) + "\n" + METRICS_FOOT


def metrics() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Yield each metric as Prometheus stores it: name, type, labels, help."""
    for collector in Metrics().registry._collector_to_names:
        declared = getattr(collector, "_labelnames", None)
        for family in collector.collect():
            labels = declared if declared is not None else getattr(family, "_labelnames", ())
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield name, family.type, tuple(labels), family.documentation


def _sentence(words: str) -> str:
    return words if words.endswith(".") else f"{words}."


def alerts_page(rules: str, pages: Path) -> str:
    """Return docs/reference/alerts/README.md, from the rules and the first paragraph of each alert's page."""
    found = [rule for group in yaml.safe_load(rules)["groups"] for rule in group["rules"]]
    return ALERTS_HEAD + "".join(_alert(each, (pages / f"{each['alert']}.md").read_text("utf-8")) for each in found)


def _alert(rule: Mapping[str, Any], text: str) -> str:
    name = rule["alert"]
    _, _, first, *_ = text.split("\n\n")
    first = re.sub(r"\]\(\.\./", "](../", " ".join(first.split())).replace("|", BAR)
    return f"| [`{name}`]({name}.md) | {rule['labels']['severity']} | {first} |\n"


class _Recorder(dict[str, str]):
    """An environment with no more than a namespace, which remembers what was looked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def get(self, name: str, default: Any = None) -> Any:
        """Note the name."""
        self.names.append(name)
        return "mailtls" if name == "MAILTLS_NAMESPACE" else default


def variables() -> list[str]:
    """Return the variables that the operator reads, in its order."""
    recorder = _Recorder()
    Settings.from_environment(recorder, Path("/does/not/exist"))
    return sorted(set(recorder.names), key=recorder.names.index)


def environment_page() -> str:
    """Return docs/reference/environment.md; raises KeyError for a variable that nobody has described."""
    defaults = {each.name: each.default for each in fields(Settings)}
    rows = []
    for name in (*sorted(variables(), key="MAILTLS_NAMESPACE".__ne__), *_OF_LIBRARIES):
        value, words = {**_VARIABLES, **_OF_LIBRARIES}[name]
        default = _default(defaults.get(_FIELDS.get(name, name.removeprefix("MAILTLS_").lower())))
        rows.append(f"| `{name}` | {default} | {f'`{value}`' if value else ''} | {cell(words)} |\n")
    return ENVIRONMENT_HEAD + "".join(rows)


def _default(value: Any) -> str:
    if isinstance(value, timedelta):
        return f"`{int(value.total_seconds()) // 3600}h`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if isinstance(value, (int, str)) and value != "" else ""


def commands_page() -> str:
    """Return docs/reference/commands.md: every command with its arguments and options."""
    root = typer.main.get_command(app)
    (ending,) = {command.epilog for _, command in _commands(root, "mailtls") if command.epilog}
    sections = [_command(name, command) for name, command in _commands(root, "mailtls")]
    return "\n".join([COMMANDS_HEAD, f"{ending}\n", *sections])


def _commands(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix} {name}")
        elif not command.hidden:
            yield f"{prefix} {name}", command


def _command(name: str, command: Any) -> str:
    rows = [_parameter(each) for each in command.params if not getattr(each, "hidden", False)]
    table = ["| argument or option | default | meaning |", "| --- | --- | --- |", *rows, ""] if rows else []
    return "\n".join([f"## {name}", "", cell(command.help), "", *table])


def _parameter(each: Any) -> str:
    is_option = each.param_type_name == "option"
    names = [*each.opts, *each.secondary_opts] if is_option else [(each.metavar or each.name.upper()).rstrip(".")]
    takes = "" if not is_option or each.is_flag else f" {each.metavar or 'TEXT'}"
    shown = ", ".join(f"`{name.replace('|', BAR)}`" for name in names)
    again = " May be given again." if getattr(each, "multiple", False) or each.nargs == -1 else ""
    required = " Required." if each.required and not is_option else ""
    default = each.default if not (is_option and each.is_flag) and each.default not in (None, "", False) else ""
    argument = f" `{takes.strip().replace('|', BAR)}`" if takes else ""
    return (
        f"| {shown}{argument} | {f'`{default}`' if default != '' else ''} | {cell(each.help or '')}{required}{again} |"
    )
