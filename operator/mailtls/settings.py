"""What the installation decides, from environment variables; nothing else in the package reads the environment."""

import json
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from mailtls.api.installation import AllowedNames, Features, parse_features
from mailtls.hostname import client_name, name_glob
from mailtls.issuance.acme.order_rate import Budget, parse_budget
from mailtls.net.addresses import AddressPolicy, Endpoints, Network, parse_networks
from mailtls.reasons.pages import docs_address
from mailtls.times import parse_duration

NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
HIGHEST_PORT: Final = 65535


class InvalidSettings(Exception):
    """A variable that makes no sense; the message is one sentence that names it and says what it must be."""


class LogFormat(StrEnum):
    """`JSON` is one object a line, for machines; `TEXT` is for people."""

    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings, checked; each field names its variable `MAILTLS_<FIELD>` where none is given.

    `namespace` is the operator's own, `identity` its name in the election (`POD_NAME`), `pod_ip` the address of its
    HTTP-01 server (`POD_IP`), `pod_uid` (`POD_UID`) what its endpoint goes with, `node_name` where it runs
    (`NODE_NAME`). `watch_namespaces` empty means the whole cluster. `acme_solvers` has the shape of
    `spec.acme.solvers`, and is parsed like a resource's. `acme_allowed_names` says who may order what there; empty:
    all may order all. `acme_order_limits` by server go before those known of CAs. `http01_service` None: no HTTP-01.
    `resolvers` are asked what mail domains publish, and trusted with DNSSEC; empty: the system's, which are not.
    `kubeconfig` (`KUBECONFIG`) is for an operator outside of a pod. `allowed_networks` may be dialled whatever they
    are; `private_servers` admits private addresses for servers (ACME, HTTP-01), `private_public_hosts` for what should
    be on the internet (public probes, MTA-STS policies). `api_server` (`KUBERNETES_SERVICE_HOST`) is never dialled on
    somebody else's word. `max_concurrent_rollouts` resources roll out at once at most; None: no limit.
    `status_page_port` None: no status page; `status_page_certificate` is the folder of its tls.crt and tls.key, None:
    it is served on loopback alone, without TLS. `disabled_features` are off, as the rights that they need were not
    granted. `docs_url` is where the documentation is, with `{page}` in it; None: nothing links there. `has_traces`
    where OpenTelemetry's variables name a collector; the rest of them is read by OpenTelemetry itself.
    """

    namespace: str
    identity: str
    pod_name: str | None = None
    pod_ip: str | None = None
    pod_uid: str | None = None
    node_name: str | None = None
    watch_namespaces: tuple[str, ...] = ()
    max_concurrent_reconciles: int = 16
    max_concurrent_rollouts: int | None = None
    probe_concurrency: int = 50
    probe_interval: timedelta = timedelta(hours=1)
    probe_client_name: str = ""
    log_format: LogFormat = LogFormat.JSON
    log_level: str = "info"
    metrics_port: int = 8080
    http01_port: int = 8089
    http01_service: str | None = None
    status_page_port: int | None = None
    status_page_certificate: Path | None = None
    lease: str = "mailtls"
    acme_server: str | None = None
    acme_email: str | None = None
    acme_ca_bundle_file: Path | None = None
    acme_solvers: tuple[dict[str, Any], ...] = ()
    acme_allowed_names: tuple[AllowedNames, ...] = ()
    acme_order_limits: Mapping[str, Budget | None] = field(default_factory=dict)
    trust_bundle_file: Path | None = None
    resolvers: tuple[str, ...] = ()
    kubeconfig: str | None = None
    allowed_networks: tuple[Network, ...] = ()
    private_servers: bool = True
    private_public_hosts: bool = False
    api_server: str | None = None
    api_endpoints: Endpoints = field(default_factory=Endpoints, compare=False)  # learned from the API server itself
    disabled_features: Features = field(default_factory=Features)
    docs_url: str | None = None
    has_traces: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], namespace_file: Path = NAMESPACE_FILE) -> "Settings":
        """Read all variables; raises `InvalidSettings` for the first that makes no sense."""
        read = _Reader(environ)
        pod_name = read.text("POD_NAME")
        given = {
            "pod_name": pod_name,
            "pod_ip": read.text("POD_IP"),
            "pod_uid": read.text("POD_UID"),
            "node_name": read.text("NODE_NAME"),
            "watch_namespaces": read("MAILTLS_WATCH_NAMESPACES", _names),
            "max_concurrent_rollouts": read("MAILTLS_MAX_CONCURRENT_ROLLOUTS", _whole(1, 10_000)),
            "max_concurrent_reconciles": read("MAILTLS_MAX_CONCURRENT_RECONCILES", _whole(1, 512)),
            "probe_concurrency": read("MAILTLS_PROBE_CONCURRENCY", _whole(1, 10_000)),
            "probe_interval": read("MAILTLS_PROBE_INTERVAL", _interval),
            "probe_client_name": read("MAILTLS_PROBE_CLIENT_NAME", client_name),
            "log_format": read("MAILTLS_LOG_FORMAT", _log_format),
            "log_level": read("MAILTLS_LOG_LEVEL", _log_level),
            "metrics_port": read("MAILTLS_METRICS_PORT", _whole(1, HIGHEST_PORT)),
            "http01_port": read("MAILTLS_HTTP01_PORT", _whole(1, HIGHEST_PORT)),
            "http01_service": read.text("MAILTLS_HTTP01_SERVICE"),
            "status_page_port": read("MAILTLS_STATUS_PAGE_PORT", _whole(1, HIGHEST_PORT)),
            "status_page_certificate": read("MAILTLS_STATUS_PAGE_CERTIFICATE", Path),
            "lease": read.text("MAILTLS_LEASE"),
            "acme_server": read.text("MAILTLS_ACME_SERVER"),
            "acme_email": read.text("MAILTLS_ACME_EMAIL"),
            "acme_ca_bundle_file": read("MAILTLS_ACME_CA_BUNDLE_FILE", _file),
            "acme_solvers": read("MAILTLS_ACME_SOLVERS", _solvers),
            "acme_allowed_names": read("MAILTLS_ACME_ALLOWED_NAMES", _allowed_names),
            "acme_order_limits": read("MAILTLS_ACME_ORDER_LIMITS", _order_limits),
            "trust_bundle_file": read("MAILTLS_TRUST_BUNDLE_FILE", _file),
            "resolvers": read("MAILTLS_RESOLVERS", _names),
            "kubeconfig": read.text("KUBECONFIG"),
            "allowed_networks": read("MAILTLS_ALLOWED_NETWORKS", lambda text: parse_networks(_names(text))),
            "private_servers": read("MAILTLS_PRIVATE_SERVERS", _truth),
            "private_public_hosts": read("MAILTLS_PRIVATE_PUBLIC_HOSTS", _truth),
            "api_server": read.text("KUBERNETES_SERVICE_HOST"),
            "disabled_features": read("MAILTLS_DISABLED_FEATURES", parse_features),
            "docs_url": read("MAILTLS_DOCS_URL", docs_address),
            "has_traces": _has_traces(read),
        }
        return cls(
            namespace=read.text("MAILTLS_NAMESPACE") or _own_namespace(namespace_file),
            identity=pod_name or f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}",
            **{name: value for name, value in given.items() if value is not None},
        )

    @property
    def acme(self) -> dict[str, Any]:
        """The default authority in the shape of `spec.acme`, without what is not set."""
        given = {"server": self.acme_server, "email": self.acme_email, "solvers": list(self.acme_solvers)}
        return {name: value for name, value in given.items() if value}

    @property
    def servers(self) -> AddressPolicy:
        """Where an ACME server, a DNS server and a name in validation may be."""
        return self._policy(private=self.private_servers)

    @property
    def public_hosts(self) -> AddressPolicy:
        """Where what is said to be public may be."""
        return self._policy(private=self.private_public_hosts)

    def _policy(self, *, private: bool) -> AddressPolicy:
        api_servers = frozenset({self.api_server} if self.api_server else ())
        return AddressPolicy(self.allowed_networks, private, api_servers, self.api_endpoints)


@dataclass(frozen=True, slots=True)
class _Reader:
    environ: Mapping[str, str]

    def text(self, name: str) -> str | None:
        return self.environ.get(name, "").strip() or None

    def __call__(self, name: str, parse: Callable[[str], Any]) -> Any:
        """Return None, which stands for the default, where the variable is missing or empty."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as problem:
            raise InvalidSettings(f"{name} is {text!r}: {problem}.") from problem


def _has_traces(read: _Reader) -> bool:
    """Whether there is a collector to send to, by the variables of the OpenTelemetry specification."""
    endpoint = read("OTEL_EXPORTER_OTLP_ENDPOINT", _url)
    endpoint = read("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", _url) or endpoint
    is_off = read("OTEL_SDK_DISABLED", _truth) or read.text("OTEL_TRACES_EXPORTER") == "none"
    if is_off or not endpoint:
        return False
    for name in ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"):
        read(name, _protocol)
    return True


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("write a URL such as http://collector:4318")
    return text


def _protocol(text: str) -> str:
    if text != "http/protobuf":
        raise ValueError("write http/protobuf, the only one that mailtls speaks")
    return text


def _own_namespace(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        raise InvalidSettings(
            "MAILTLS_NAMESPACE is not set, and there is no service account to know the operator's namespace by: set it."
        ) from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise ValueError(f"write a whole number from {least} to {most}")
        return int(text)

    return parse


def _truth(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError("write true or false")
    return text.lower() == "true"


def _interval(text: str) -> timedelta:
    interval = parse_duration(text)
    if interval < timedelta(minutes=1):
        raise ValueError("write a duration of at least 1m")
    return interval


def _log_format(text: str) -> LogFormat:
    named = {"json": LogFormat.JSON, "text": LogFormat.TEXT, "console": LogFormat.TEXT}
    if text.lower() not in named:
        raise ValueError("write json, or text for people")
    return named[text.lower()]


def _log_level(text: str) -> str:
    if text.lower() not in {"debug", "info", "warning", "error"}:
        raise ValueError("write debug, info, warning or error")
    return text.lower()


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise ValueError("there is no such file")
    return path


def _solvers(text: str) -> tuple[dict[str, Any], ...]:
    try:
        solvers = json.loads(text)
    except ValueError:
        raise ValueError("write a JSON list in the shape of spec.acme.solvers") from None
    if not isinstance(solvers, list) or not all(isinstance(solver, dict) for solver in solvers):
        raise ValueError("write a JSON list in the shape of spec.acme.solvers")
    return tuple(solvers)


def _allowed_names(text: str) -> tuple[AllowedNames, ...]:
    hint = 'write a JSON list of rules such as {"namespaces": ["mail"], "names": ["*.example.com"]}'
    try:
        rules = json.loads(text)
    except ValueError:
        raise ValueError(hint) from None
    if not isinstance(rules, list) or not all(map(_is_rule, rules)):
        raise ValueError(hint)
    return tuple(AllowedNames(tuple(rule["namespaces"]), tuple(map(name_glob, rule["names"]))) for rule in rules)


def _is_rule(rule: object) -> bool:
    if not isinstance(rule, dict) or set(rule) != {"namespaces", "names"}:
        return False
    return all(isinstance(globs, list) and all(isinstance(each, str) for each in globs) for globs in rule.values())


def _order_limits(text: str) -> dict[str, Budget | None]:
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict) or not all(isinstance(limit, str) for limit in given.values()):
        raise ValueError('write a JSON object from servers to limits such as {"letsencrypt": "300/3h"}')
    return {server: parse_budget(limit) for server, limit in given.items()}
