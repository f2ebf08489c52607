"""What the Grafana dashboard shows: its rows, their panels and the queries of these.

Queries say `max by` where a resource's series may come from two replicas: for the moments in which the leader changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

CHOSEN: Final = 'namespace=~"$namespace",name=~"$name"'
GREEN_RED: Final = ((None, "green"), (1, "red"))
DAYS: Final = ((None, "red"), (3, "orange"), (14, "green"))
PORT: Final = "namespace, name, workload, pod, port"


@dataclass(frozen=True, slots=True)
class Query:
    """One query, and how Grafana names its series."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel; `kind` is Grafana's name of its plugin, `unit` that of its axis, `steps` colours from a value on."""

    title: str
    queries: Sequence[Query]
    description: str
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    steps: Sequence[tuple[float | None, str]] = ((None, "green"),)
    hidden: Sequence[str] = ()
    value: str = "Value"


def quantiles(metric: str, labels: str = "") -> list[Query]:
    """Return the median and the slowest twentieth of a histogram."""
    by = f"le, {labels}" if labels else "le"
    legend = f" {{{{{labels}}}}}" if labels else ""
    rate = f"sum by ({by}) (rate({metric}_bucket[$__rate_interval]))"
    return [Query(f"histogram_quantile({of}, {rate})", f"{name}{legend}") for of, name in ((0.5, "p50"), (0.95, "p95"))]


def stat(title: str, expression: str, description: str, **more: Any) -> Panel:
    """Return one big number, of six in a line."""
    return Panel(title, [Query(expression)], description, kind="stat", width=4, **more)


def table(title: str, expression: str, description: str, **more: Any) -> Panel:
    """Return a table with a line for each series."""
    return Panel(title, [Query(expression)], description, kind="table", width=12, **more)


ROWS: Final[Mapping[str, Sequence[Panel]]] = {
    "Now": (
        stat(
            "Mail servers",
            f'count(max by (namespace, name) (mailtls_status_condition{{{CHOSEN},type="Ready"}}))',
            "MailServerTLS resources.",
        ),
        stat(
            "Not Ready",
            f'sum(max by (namespace, name) (mailtls_status_condition{{{CHOSEN},type="Ready",status!="True"}}))',
            "Resources whose condition Ready is not True.",
            steps=GREEN_RED,
        ),
        stat(
            "First expiry",
            f"(min(mailtls_certificate_not_after_timestamp_seconds{{{CHOSEN}}}) - time()) / 86400",
            "Days until the first stored certificate expires; negative after that.",
            unit="d",
            steps=DAYS,
        ),
        stat(
            "Ports that fail",
            f"count(min by ({PORT}) (mailtls_endpoint_probe_success{{{CHOSEN}}}) == 0) or vector(0)",
            "Ports whose last probe found something that fails, and those of pods that are not ready.",
            steps=GREEN_RED,
        ),
        stat(
            "Other certificates",
            f"count(min by ({PORT}) (mailtls_endpoint_certificate_matches{{{CHOSEN}}}) == 0) or vector(0)",
            "Ports that serve another certificate than the stored one.",
            steps=GREEN_RED,
        ),
        stat(
            "Leaders",
            "sum(mailtls_leader)",
            "Replicas of the operator that lead: one for each installation.",
            steps=((None, "red"), (1, "green")),
        ),
        table(
            "Certificates, days left",
            "sort((max by (namespace, name, secret) "
            f"(mailtls_certificate_not_after_timestamp_seconds{{{CHOSEN}}}) - time()) / 86400)",
            "Stored certificates, the next to expire first.",
            unit="d",
            steps=DAYS,
            value="Days left",
        ),
        table(
            "Conditions that are not True",
            f'max by (namespace, name, type, status) (mailtls_status_condition{{{CHOSEN},status!="True"}} == 1)'
            " * on (namespace, name, type) group_right (status)"
            f" max by (namespace, name, type, reason) (mailtls_status_condition_info{{{CHOSEN}}})",
            "Each reason is explained in docs/reference/reasons.md of mailtls.",
            hidden=("Value",),
        ),
        table(
            "Findings at ports",
            f"max by ({PORT}, severity, reason) (mailtls_endpoint_finding{{{CHOSEN}}})",
            "Failures and warnings of the last probe of each port.",
            hidden=("Value",),
        ),
        table(
            "Warnings of conditions and findings at mail domains",
            f"max by (namespace, name, type, reason) (mailtls_status_condition_warning{{{CHOSEN}}})"
            f" or max by (namespace, name, domain, severity, reason) (mailtls_domain_finding{{{CHOSEN}}})",
            "What a condition warns of though it is True, and what a mail domain publishes that is wrong.",
            hidden=("Value",),
        ),
    ),
    "What is served": (
        Panel(
            "Served certificates, days left",
            [
                Query(
                    "(min by (namespace, name, workload) "
                    f"(mailtls_served_not_after_timestamp_seconds{{{CHOSEN}}}) - time()) / 86400",
                    "{{namespace}}/{{name}} {{workload}}",
                )
            ],
            "Days until the first certificate expires that a port of the workload served last.",
            unit="d",
        ),
        Panel(
            "Ports that are good",
            [
                Query(
                    f"avg by (namespace, name) (min by ({PORT}) (mailtls_endpoint_probe_success{{{CHOSEN}}}))",
                    "{{namespace}}/{{name}}",
                )
            ],
            "The share of ports whose last probe found nothing that fails.",
            unit="percentunit",
        ),
        Panel(
            "Since the last probe",
            [
                Query(
                    "max by (namespace, name) "
                    f"(time() - max by ({PORT}) (mailtls_probe_timestamp_seconds{{{CHOSEN}}}))",
                    "{{namespace}}/{{name}}",
                )
            ],
            "How old the oldest verdict on a port of the resource is.",
            unit="s",
        ),
    ),
    "Orders, rollouts and probes": (
        Panel(
            "Orders",
            [Query("sum by (outcome) (increase(mailtls_orders_total[1h]))", "{{outcome}}")],
            "Orders that came to an end within an hour.",
        ),
        Panel(
            "Duration of orders",
            quantiles("mailtls_order_duration_seconds"),
            "From opening an order to the stored certificate.",
            unit="s",
        ),
        Panel(
            "Orders left",
            [
                Query(
                    "min by (namespace, server) (mailtls_order_budget_remaining / mailtls_order_budget_limit)",
                    "{{namespace}} {{server}}",
                )
            ],
            "The share of the CA's order limit that is free.",
            unit="percentunit",
        ),
        Panel(
            "Rollouts",
            [
                Query("sum by (outcome) (increase(mailtls_rollouts_total[1h]))", "{{outcome}}"),
                Query("sum by (cause) (increase(mailtls_rollbacks_total[1h]))", "rolled back: {{cause}}"),
            ],
            "Rollouts that came to an end within an hour.",
        ),
        Panel(
            "Duration of rollouts",
            quantiles("mailtls_rollout_duration_seconds"),
            "From the first pod reloaded or restarted to the last one verified.",
            unit="s",
        ),
        Panel(
            "Rollouts at work",
            [
                Query("sum(mailtls_rollouts_running)", "running"),
                Query("sum(mailtls_rollouts_waiting)", "waiting"),
                Query("sum(mailtls_rollouts_limit) < +Inf", "limit"),
            ],
            "Resources that roll out, and those that wait for their turn (rollout.maxConcurrent).",
        ),
        Panel(
            "Duration of probes",
            quantiles("mailtls_verification_duration_seconds", "depth"),
            "Of all ports of a resource's pods.",
            unit="s",
        ),
        Panel(
            "Requests to ACME servers",
            [Query("sum by (type, code) (rate(mailtls_acme_requests_total[$__rate_interval]))", "{{type}} {{code}}")],
            "By kind of request and HTTP status.",
            unit="reqps",
        ),
        Panel(
            "Waits after failures",
            [Query("sum by (kind) (increase(mailtls_retries_total[1h])) > 0", "{{kind}}")],
            "What failed within an hour and is tried again after a growing delay.",
        ),
    ),
    "The operator": (
        Panel(
            "Queue",
            [
                Query("max(mailtls_workqueue_depth)", "waiting for a worker"),
                Query("max(mailtls_bulkhead_waiting)", "waiting for the same server"),
                Query("max(mailtls_workers_stuck)", "stuck workers"),
            ],
            "Resources that wait, and workers that are late.",
        ),
        Panel(
            "Oldest in the queue",
            [Query("max(mailtls_queue_oldest_seconds)", "waiting")],
            "How long the resource that waits longest has waited.",
            unit="s",
        ),
        Panel(
            "Duration of reconciles",
            quantiles("mailtls_reconcile_duration_seconds"),
            "Of one resource.",
            unit="s",
        ),
        Panel(
            "Memory",
            [
                Query(
                    "process_resident_memory_bytes * on (instance, job) group_left (version) mailtls_build_info",
                    "{{instance}} {{version}}",
                )
            ],
            "Of each replica.",
            unit="bytes",
        ),
        Panel(
            "CPU",
            [
                Query(
                    "rate(process_cpu_seconds_total[$__rate_interval])"
                    " * on (instance, job) group_left () mailtls_build_info",
                    "{{instance}}",
                )
            ],
            "Cores that each replica uses.",
        ),
        Panel(
            "Writes to the API server, and the clock",
            [
                Query("sum by (verb) (rate(mailtls_kubernetes_writes_total[$__rate_interval]))", "{{verb}} a second"),
                Query("max by (server) (abs(mailtls_clock_skew_seconds))", "seconds from the clock of {{server}}"),
            ],
            "Writes by verb, and how far the clock differs from that of ACME servers.",
        ),
    ),
}
