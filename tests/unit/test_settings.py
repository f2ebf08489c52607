"""Settings: every variable is read, and a bad one is one sentence."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from mailtls.api.installation import AllowedNames, first_refused
from mailtls.hostname import certificate_name
from mailtls.issuance.acme.order_rate import Budget
from mailtls.net.addresses import parse_networks
from mailtls.settings import InvalidSettings, LogFormat, Settings

HERE = {"MAILTLS_NAMESPACE": "mail-system"}


def test_an_empty_environment_gives_the_defaults() -> None:
    """Only the namespace must be known; empty variables count as missing."""
    settings = Settings.from_environment(
        HERE | {"MAILTLS_MAX_CONCURRENT_RECONCILES": "", "MAILTLS_HTTP01_SERVICE": " "}
    )
    assert settings == Settings(namespace="mail-system", identity=settings.identity)
    assert settings.identity
    assert (settings.max_concurrent_reconciles, settings.probe_concurrency) == (16, 50)
    assert settings.probe_interval == timedelta(hours=1)
    assert (settings.metrics_port, settings.http01_port, settings.http01_service) == (8080, 8089, None)
    assert settings.watch_namespaces == ()


def test_each_variable_reaches_its_field(tmp_path: Path) -> None:
    """No variable of the Deployment is ignored."""
    bundle = tmp_path / "ca.crt"
    bundle.write_text("PEM")
    settings = Settings.from_environment(
        {
            "MAILTLS_NAMESPACE": "mail-system",
            "POD_NAME": "mailtls-0",
            "POD_IP": "10.0.0.1",
            "POD_UID": "uid-of-pod",
            "NODE_NAME": "node-1",
            "MAILTLS_WATCH_NAMESPACES": "b, a,,b",
            "MAILTLS_MAX_CONCURRENT_RECONCILES": "3",
            "MAILTLS_MAX_CONCURRENT_ROLLOUTS": "5",
            "MAILTLS_PROBE_CONCURRENCY": "7",
            "MAILTLS_PROBE_INTERVAL": "30m",
            "MAILTLS_PROBE_CLIENT_NAME": "probe.example.com",
            "MAILTLS_LOG_FORMAT": "text",
            "MAILTLS_DOCS_URL": "https://docs.example.com/{page}/",
            "MAILTLS_LOG_LEVEL": "DEBUG",
            "MAILTLS_METRICS_PORT": "81",
            "MAILTLS_HTTP01_PORT": "82",
            "MAILTLS_STATUS_PAGE_PORT": "83",
            "MAILTLS_STATUS_PAGE_CERTIFICATE": "/etc/page",
            "MAILTLS_HTTP01_SERVICE": "acme",
            "MAILTLS_LEASE": "lease",
            "MAILTLS_ACME_SERVER": "letsencrypt",
            "MAILTLS_ACME_EMAIL": "a@example.com",
            "MAILTLS_ACME_CA_BUNDLE_FILE": str(bundle),
            "MAILTLS_ACME_SOLVERS": '[{"http01": {}}]',
            "MAILTLS_ACME_ALLOWED_NAMES": '[{"namespaces": ["mail"], "names": ["*.example.com"]}]',
            "MAILTLS_ACME_ORDER_LIMITS": '{"letsencrypt": "50/1h", "https://ca.test/dir": "none"}',
            "MAILTLS_TRUST_BUNDLE_FILE": str(bundle),
            "MAILTLS_RESOLVERS": "127.0.0.1, [::1]:5353",
            "KUBECONFIG": "/a:/b",
            "MAILTLS_ALLOWED_NETWORKS": "127.0.0.1, 10.0.0.0/8",
            "MAILTLS_PRIVATE_SERVERS": "false",
            "MAILTLS_PRIVATE_PUBLIC_HOSTS": "True",
            "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        }
    )
    assert settings == Settings(
        namespace="mail-system",
        identity="mailtls-0",
        pod_name="mailtls-0",
        pod_ip="10.0.0.1",
        pod_uid="uid-of-pod",
        node_name="node-1",
        watch_namespaces=("b", "a"),
        max_concurrent_reconciles=3,
        max_concurrent_rollouts=5,
        probe_concurrency=7,
        probe_interval=timedelta(minutes=30),
        probe_client_name="probe.example.com",
        log_format=LogFormat.TEXT,
        docs_url="https://docs.example.com/{page}/",
        log_level="debug",
        metrics_port=81,
        http01_port=82,
        status_page_port=83,
        status_page_certificate=Path("/etc/page"),
        http01_service="acme",
        lease="lease",
        acme_server="letsencrypt",
        acme_email="a@example.com",
        acme_ca_bundle_file=bundle,
        acme_solvers=({"http01": {}},),
        acme_allowed_names=(AllowedNames(("mail",), ("*.example.com",)),),
        acme_order_limits={"letsencrypt": Budget(50, timedelta(hours=1)), "https://ca.test/dir": None},
        trust_bundle_file=bundle,
        resolvers=("127.0.0.1", "[::1]:5353"),
        kubeconfig="/a:/b",
        allowed_networks=parse_networks(["127.0.0.1", "10.0.0.0/8"]),
        private_servers=False,
        private_public_hosts=True,
        api_server="10.96.0.1",
    )
    assert settings.acme == {"server": "letsencrypt", "email": "a@example.com", "solvers": [{"http01": {}}]}


def test_without_a_pod_name_two_processes_differ() -> None:
    """Two operators started by hand on one machine do not think that they are one."""
    assert Settings.from_environment(HERE).identity != Settings.from_environment(HERE).identity


def test_in_a_pod_the_namespace_is_that_of_the_service_account(tmp_path: Path) -> None:
    """The namespace need not be set in a pod."""
    file = tmp_path / "namespace"
    file.write_text("mail-system\n")
    assert Settings.from_environment({}, file).namespace == "mail-system"


def test_outside_of_a_pod_the_namespace_must_be_set(tmp_path: Path) -> None:
    """No namespace at all is a fault that names the variable."""
    with pytest.raises(InvalidSettings, match="MAILTLS_NAMESPACE is not set"):
        Settings.from_environment({}, tmp_path / "missing")


def test_allowed_names_of_any_script_are_those_that_resources_are_read_as() -> None:
    """Names of resources are A-labels when they are compared, whichever way they were written."""
    rules = '[{"namespaces": ["mail"], "names": ["*.Bücher.example", "xn--fa-hia.example"]}]'
    allowed = Settings.from_environment({**HERE, "MAILTLS_ACME_ALLOWED_NAMES": rules}).acme_allowed_names
    names = tuple(map(certificate_name, ["mx.bücher.example", "*.Bu\u0308cher.example", "faß.example"]))
    assert first_refused(allowed, "mail", names) is None
    assert first_refused(allowed, "mail", ["xn--bcher-kva.example.com"]) is not None


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("MAILTLS_PRIVATE_SERVERS", "no", "MAILTLS_PRIVATE_SERVERS is 'no': write true or false."),
        (
            "MAILTLS_ALLOWED_NETWORKS",
            "here",
            "MAILTLS_ALLOWED_NETWORKS is 'here': write networks such as 10.0.0.0/8 or 2001:db8::/32, not 'here'.",
        ),
        (
            "MAILTLS_MAX_CONCURRENT_RECONCILES",
            "0",
            "MAILTLS_MAX_CONCURRENT_RECONCILES is '0': write a whole number from 1 to 512.",
        ),
        (
            "MAILTLS_MAX_CONCURRENT_RECONCILES",
            "many",
            "MAILTLS_MAX_CONCURRENT_RECONCILES is 'many': write a whole number from 1 to 512.",
        ),
        (
            "MAILTLS_ACME_ALLOWED_NAMES",
            '[{"namespaces": ["*"], "names": ["bü*.example"]}]',
            (
                'MAILTLS_ACME_ALLOWED_NAMES is \'[{"namespaces": ["*"], "names": ["bü*.example"]}]\': in bü*.example, a'
                " part in another script stands for itself alone, so write *, ? and [] in parts of their own."
            ),
        ),
        ("MAILTLS_METRICS_PORT", "65536", "MAILTLS_METRICS_PORT is '65536': write a whole number from 1 to 65535."),
        ("MAILTLS_PROBE_INTERVAL", "1s", "MAILTLS_PROBE_INTERVAL is '1s': write a duration of at least 1m."),
        (
            "MAILTLS_DOCS_URL",
            "docs/{page}.md",
            (
                "MAILTLS_DOCS_URL is 'docs/{page}.md': write an address with {page} in it, such as"
                " https://docs.example.com/mailtls/0.1/{page}/."
            ),
        ),
        ("MAILTLS_LOG_FORMAT", "xml", "MAILTLS_LOG_FORMAT is 'xml': write json, or text for people."),
        ("MAILTLS_LOG_LEVEL", "loud", "MAILTLS_LOG_LEVEL is 'loud': write debug, info, warning or error."),
        ("MAILTLS_TRUST_BUNDLE_FILE", "/no/ca", "MAILTLS_TRUST_BUNDLE_FILE is '/no/ca': there is no such file."),
        (
            "MAILTLS_ACME_SOLVERS",
            json.dumps({"http01": {}}),
            "MAILTLS_ACME_SOLVERS is '{\"http01\": {}}': write a JSON list in the shape of spec.acme.solvers.",
        ),
        (
            "MAILTLS_ACME_ALLOWED_NAMES",
            '[{"names": "*"}]',
            (
                'MAILTLS_ACME_ALLOWED_NAMES is \'[{"names": "*"}]\': write a JSON list of rules such as '
                '{"namespaces": ["mail"], "names": ["*.example.com"]}.'
            ),
        ),
        (
            "MAILTLS_ACME_ORDER_LIMITS",
            "300/3h",
            (
                "MAILTLS_ACME_ORDER_LIMITS is '300/3h': write a JSON object from servers to limits such as "
                '{"letsencrypt": "300/3h"}.'
            ),
        ),
        (
            "MAILTLS_ACME_ORDER_LIMITS",
            '{"letsencrypt": "many"}',
            (
                'MAILTLS_ACME_ORDER_LIMITS is \'{"letsencrypt": "many"}\': write orders and a duration such as'
                " 300/3h, or none."
            ),
        ),
    ],
)
def test_a_bad_value_is_one_sentence(name: str, value: str, sentence: str) -> None:
    """The sentence names the variable, repeats the value and says what to write."""
    with pytest.raises(InvalidSettings) as fault:
        Settings.from_environment(HERE | {name: value})
    assert str(fault.value) == sentence


def test_the_program_says_it_without_a_traceback_and_exits_with_2() -> None:
    """A bad variable ends the real program at once, with nothing but the sentence."""
    environment = os.environ | HERE | {"MAILTLS_MAX_CONCURRENT_RECONCILES": "x"}
    command = [sys.executable, "-m", "mailtls", "run"]
    cwd = Path(__file__).parents[2] / "operator"
    ended = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stderr == "MAILTLS_MAX_CONCURRENT_RECONCILES is 'x': write a whole number from 1 to 512.\n"
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("given", "has_traces"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://collector/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_on_where_a_collector_is_named(given: dict[str, str], has_traces: bool) -> None:
    """By the variables of the OpenTelemetry specification."""
    assert Settings.from_environment({"MAILTLS_NAMESPACE": "mailtls", **given}).has_traces is has_traces


@pytest.mark.parametrize(
    "given",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_collector_that_cannot_be_sent_to_is_refused(given: dict[str, str]) -> None:
    """At the start, with the variable's name, and not by spans that nobody ever sees."""
    with pytest.raises(InvalidSettings, match="OTEL_EXPORTER_OTLP"):
        Settings.from_environment({"MAILTLS_NAMESPACE": "mailtls", **given})


@pytest.mark.parametrize(
    "address",
    [
        "ftp://docs.example.com/{page}",
        "https://docs.example.com/",
        "https://docs.example.com/{page}/{page}",
        "https://{page}@evil.example/",
        "https://docs.example.com@evil.example/{page}",
        "https://docs.example.com/\u202e{page}",
        "https://docs.example.com/\x1b[31m{page}",
        "https://docs.example.com/{page} x",
    ],
)
def test_address_of_the_documentation_is_what_it_looks_like(address: str) -> None:
    """It is shown to others in messages of conditions."""
    with pytest.raises(InvalidSettings, match=r"write an address with \{page\} in it"):
        Settings.from_environment(HERE | {"MAILTLS_DOCS_URL": address})
