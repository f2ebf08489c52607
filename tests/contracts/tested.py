"""Which products the documentation names, and which test shows what it says of them; makes docs/reference/tested.md.

A product that no test shows is listed as such, in plain words; one that is listed nowhere must not be named.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from contracts.render import ROOT

TREES = ROOT / "tests" / "testbed" / "trees.json"
GO, GO_MAIL = (ROOT / "tests" / "testbed" / folder / "go.mod" for folder in ("go", "gomail"))
DEBIAN = {"bookworm": "Debian 12", "trixie": "Debian 13"}


class How(Enum):
    """How a product is tested; the value is the heading, the order that of the page."""

    RUN = "Real programs"
    PLAYED = "Played by the tests"
    RENDERED = "Rendered or read"
    NOT = "Not tested"


INTRODUCTION = {
    How.RUN: "`make test` runs the product itself, some as packages of the machine, which is a Debian 12 or 13.",
    How.PLAYED: "A test does what the product does, as its source or a run by hand showed. The product does not run.",
    How.RENDERED: "What mailtls makes for the product is checked, but not used by it.",
    How.NOT: "The documentation names these. No test shows that they work with mailtls.",
}


@dataclass(frozen=True, slots=True)
class Product:
    """One product: `words` find it in the text, `version` says which is run, `tests` are files or file::function."""

    name: str
    how: How
    shown: str
    tests: tuple[str, ...] = ()
    version: str = ""
    words: tuple[str, ...] = field(default=())

    @property
    def pattern(self) -> re.Pattern[str]:
        """What finds it in the documentation."""
        words = self.words or (re.escape(self.name),)
        return re.compile(rf"(?i)\b({'|'.join(words)})\b")


def packaged(*names: str) -> str:
    """Return the releases of Debian of which the tests run these packages."""
    trees = json.loads(TREES.read_text(encoding="utf-8"))["trees"].values()
    found = {DEBIAN[tree["suite"]] for tree in trees if set(names) & set(tree["packages"])}
    assert found, names
    return ", ".join(sorted(found))


def built(module: str) -> str:
    """Return the version of a Go module that the tests build."""
    text = GO.read_text(encoding="utf-8") + GO_MAIL.read_text(encoding="utf-8")
    found = re.search(rf"{re.escape(module)} v(\S+)", text)
    assert found, module
    return found[1]


_PRESETS = "tests/e2e/test_presets.py"
_SERVERS = "tests/functional/test_servers.py"
_NAME_SERVERS = "tests/functional/test_name_servers.py"
_IMAGES = "tests/e2e/test_mail_images.py"
_MIGRATION = "tests/e2e/test_migration.py"
_MACHINE = "the machine's"
PRODUCTS = (
    Product(
        "Kubernetes", How.RUN, "everything, on one node", ("tests/e2e/test_lifecycle.py",), built("k8s.io/kubernetes")
    ),
    Product(
        "Python",
        How.RUN,
        "3.11 runs the tests, 3.13 the operator in its image; 3.12 is not tested",
        ("tests/e2e/test_lifecycle.py", "tests/e2e/test_uninstall.py"),
        "3.11, 3.13",
    ),
    Product(
        "Helm",
        How.RUN,
        "installs, tests and uninstalls the chart",
        ("tests/e2e/test_uninstall.py",),
        built("helm.sh/helm/v4"),
    ),
    Product(
        "kustomize",
        How.RUN,
        "`kubectl kustomize` builds `deploy/`, and an overlay of it; `make upgrade` installs and upgrades with one",
        ("tests/contracts/test_release.py::test_kustomize_base_is_the_rendered_manifest",),
        "kubectl's",
    ),
    Product(
        "Pebble",
        How.RUN,
        "the ACME server of all tests",
        ("tests/functional/test_acme_issuing.py",),
        built("github.com/letsencrypt/pebble/v2"),
    ),
    Product(
        "BIND",
        How.RUN,
        "DNS-01, and DNS of mail domains",
        (_NAME_SERVERS, "tests/functional/test_dns_update.py", "tests/functional/test_domain_reading.py"),
        _MACHINE,
    ),
    Product("Knot DNS", How.RUN, "DNS-01", (_NAME_SERVERS,), packaged("knot"), (r"Knot( DNS)?",)),
    Product("PowerDNS", How.RUN, "DNS-01", (_NAME_SERVERS,), packaged("pdns-server")),
    Product(
        "Postfix",
        How.RUN,
        "preset and probe, and the pods of most tests",
        (_PRESETS, _SERVERS),
        "Debian 13, the machine's",
    ),
    Product(
        "Dovecot", How.RUN, "preset (2.3 and 2.4) and probe (2.4)", (_PRESETS, _SERVERS), packaged("dovecot-imapd")
    ),
    Product("Exim", How.RUN, "preset and probe", (_PRESETS, _SERVERS), packaged("exim4-daemon-light")),
    Product("OpenSMTPD", How.RUN, "preset and probe", (_PRESETS, _SERVERS), packaged("opensmtpd")),
    Product("haproxy", How.RUN, "preset and probe, PROXY protocol", (_PRESETS, _SERVERS), packaged("haproxy")),
    Product("nginx", How.RUN, "preset", (_PRESETS,), packaged("nginx-light")),
    Product("sendmail", How.RUN, "preset", (_PRESETS,), packaged("sendmail-bin")),
    Product("Cyrus", How.RUN, "preset", (_PRESETS,), packaged("cyrus-imapd")),
    Product("Courier", How.RUN, "preset", (_PRESETS,), packaged("courier-mta")),
    Product("chasquid", How.RUN, "preset", (_PRESETS,), packaged("chasquid")),
    Product("maddy", How.RUN, "preset", (_PRESETS,), built("github.com/foxcpp/maddy")),
    Product("mox", How.RUN, "preset", (_PRESETS,), built("github.com/mjl-/mox")),
    Product("certbot", How.RUN, "the way from it", (_MIGRATION,), _MACHINE),
    Product(
        "Prometheus",
        How.RUN,
        "scrapes, alerts, the dashboard's queries; Kubernetes discovery of 3.16 was run by hand, on 2026-12-01",
        ("tests/functional/test_alerts_in_prometheus.py", "tests/functional/test_dashboard_in_prometheus.py"),
        _MACHINE,
    ),
    Product(
        "Alertmanager",
        How.RUN,
        "which alerts are inhibited, that all end with their faults, and one page for an expiry at real pods",
        ("tests/functional/test_inhibition.py", "tests/e2e/test_alerts.py"),
        _MACHINE,
    ),
    Product(
        "cert-manager", How.PLAYED, "Secrets as 1.21 was seen to write them", (_MIGRATION, "tests/e2e/test_external.py")
    ),
    Product(
        "External Secrets",
        How.PLAYED,
        "Secrets as 2.9 writes them",
        (_MIGRATION,),
        words=(r"External Secrets", "external-secrets"),
    ),
    Product(
        "Reloader",
        How.PLAYED,
        "a pod template changed beside the operator, as its chart 2.2 was seen to change it",
        (f"{_MIGRATION}::test_cert_managers_renewals_reach_the_pods_beside_reloader_and_without_it",),
    ),
    Product(
        "Argo Rollouts",
        How.PLAYED,
        "its controller, by the fields of the Rollout",
        ("tests/e2e/test_argo.py",),
        words=("Argo Rollouts", "Rollouts? of Argo"),
    ),
    Product("docker-mailserver", How.PLAYED, "a stand-in copies, polls and reloads as release 15 does", (_IMAGES,)),
    Product("Mailu", How.PLAYED, "a stand-in watches its files and reloads as the front of 2024.06 does", (_IMAGES,)),
    Product("Stalwart", How.PLAYED, "a stand-in takes the call by which 0.16 reads its certificates again", (_IMAGES,)),
    Product("Zimbra", How.PLAYED, "the script of its page runs; what it calls is a stand-in", (_IMAGES,)),
    Product(
        "OpenTelemetry",
        How.PLAYED,
        "a collector of the tests takes the traces by OTLP",
        ("tests/functional/test_traces.py",),
    ),
    Product(
        "pip-audit",
        How.PLAYED,
        "what 2.10.1 prints of services with and without vulnerabilities; itself where it is installed",
        ("tests/contracts/test_audit.py",),
    ),
    Product("fail2ban", How.PLAYED, "the lines that its filters count in logs", (_IMAGES,)),
    Product("Cisco", How.PLAYED, "a middlebox writes over STARTTLS", (_SERVERS,)),
    Product(
        "Istio, Linkerd",
        How.PLAYED,
        "a server answers as a sidecar would",
        ("tests/unit/probe/checks/test_causes.py",),
        words=("Istio, Linkerd", "Linkerd"),
    ),
    Product(
        "OpenShift", How.RENDERED, "the chart leaves user and groups out", ("tests/contracts/test_chart_values.py",)
    ),
    Product(
        "Prometheus Operator",
        How.RENDERED,
        "ServiceMonitor, PodMonitor, PrometheusRule; on 2026-12-01 an API server took them by the definitions of 0.93, "
        "strictly and by hand; the operator was not run",
        ("tests/contracts/test_chart.py",),
        words=("Prometheus Operator", "kube-prometheus-stack"),
    ),
    Product(
        "Grafana", How.RENDERED, "the dashboard; its queries run in Prometheus", ("tests/contracts/test_dashboard.py",)
    ),
    Product(
        "Argo CD",
        How.RENDERED,
        "the example's objects, and its health check in Argo CD's interpreter of Lua",
        ("tests/contracts/test_examples.py", "tests/contracts/test_health.py"),
        words=("Argo ?CD",),
    ),
    Product(
        "Flux",
        How.RENDERED,
        "the example's objects, what kstatus makes of each state, and the library that its kustomize-controller "
        "applies and waits with: how it ends at Ready and at Stalled, and what it leaves of what others wrote. On "
        "2026-12-01 the code of Flux 2.9 packed the repository, with the chart's definition in it, and built the "
        "folder `mail`, by hand; its controllers were not run, nor an upgrade by them",
        ("tests/contracts/test_examples.py", "tests/contracts/test_health.py", "tests/e2e/test_flux.py"),
    ),
    Product(
        "Let's Encrypt",
        How.NOT,
        "Pebble, which its makers test clients with, stands for it; its rate limits are those that it publishes",
    ),
    Product(
        "Windows DNS",
        How.NOT,
        "secure updates need GSS-TSIG, which the operator does not speak",
        words=("Windows DNS",),
    ),
    Product(
        "kind",
        How.NOT,
        "the tutorial and `make demo` were run once on 0.33, on 2026-12-01, on a node of Debian 12 with Kubernetes "
        "1.37.2 that `kind build node-image` made from our own builds, without storage and network policies; no test "
        "repeats it",
        words=("`?kind load",),
    ),
    Product(
        "k3s",
        How.NOT,
        "`make demo` was run once on k3s 1.36.3, on 2026-12-01, built from its source without crictl, Traefik and "
        "storage; its NetworkPolicies let those read the metrics whom `networkPolicy.metricsFrom` names, and nobody "
        "else; no test repeats it",
    ),
    Product(
        "Docker, Podman",
        How.NOT,
        "the tests build the image with buildah, from the same Dockerfile; Docker 20.10 with BuildKit built it once, "
        "on 2026-12-01",
        words=("docker build", "Docker or Podman"),
    ),
    Product(
        "cosign",
        How.NOT,
        "signing and verifying was tried by hand with 3.1.3; a certificate authority stood for Sigstore's",
    ),
    Product("oauth2-proxy", How.NOT, "the tests send the header that a proxy before the status page passes on"),
    Product("Exchange", How.NOT, "named where its users see something"),
    Product("Outlook, Gmail", How.NOT, "named where their users see something", words=("Outlook", "Gmail")),
    Product("Apple's devices", How.NOT, "what they refuse is read in Apple's documentation", words=("Apple",)),
    Product("unbound", How.NOT, "a validating BIND stands for it"),
)
WATCHED = (
    "ZeroSSL|Buypass|Google Trust Services|Sectigo|DigiCert|step-ca|Step CA|smallstep|EJBCA|Boulder",
    "GKE|EKS|AKS|Minikube|MicroK8s|Rancher|Talos|Cilium|Calico|Traefik|Envoy|Knative|KEDA",
    "NSD|CoreDNS|Infoblox|Route ?53|Cloudflare|acme-dns|Active Directory|ExternalDNS|deSEC",
    "mailcow|iRedMail|Haraka|hMailServer|Rspamd|amavis|Kyverno|Gatekeeper|Sealed Secrets",
)
"""Products that no page names; a page that begins to has them listed above."""


def page() -> str:
    """Return docs/reference/tested.md."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# What is tested\n"
    yield (
        "Every product that the documentation names, and what shows that it works with mailtls. The page is made from\n"
        "`tests/contracts/tested.py`, and a test looks for names that are missing here; do not edit it."
    )
    for how in How:
        yield from _section(how, [each for each in PRODUCTS if each.how is how])


def _section(how: How, products: Sequence[Product]) -> Iterator[str]:
    yield f"\n## {how.value}\n\n{INTRODUCTION[how]}\n"
    if how is How.NOT:
        yield from (_row(["product", "why"]), _row(["---"] * 2))
        yield from (_row([each.name, each.shown]) for each in products)
        return
    columns = ["product", *(["version"] if how is How.RUN else []), "what is shown", "test"]
    yield from (_row(columns), _row(["---"] * len(columns)))
    for each in products:
        tests = ", ".join(f"`{test.removeprefix('tests/')}`" for test in each.tests)
        yield _row([each.name, *([each.version] if how is How.RUN else []), each.shown, tests])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
