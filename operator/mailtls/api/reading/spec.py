"""Reads a `MailServerTLS`: the only place that knows the JSON of its spec, and that fills in what it leaves out.

The API server has checked the schema of `crds/`; objects that slipped past an older one are refused here with the same
sentences.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mailtls.api.installation import AllowedNames, Feature, Features, first_refused
from mailtls.api.reading.acme import SolverReader, acme, default_acme, object_name
from mailtls.api.reading.document import InvalidSpec, Json, Node, duration
from mailtls.api.reading.probe import ProbeDefaults, domains, probe
from mailtls.api.reading.rollout import approved, is_paused, read_workloads, rollout
from mailtls.api.resource import Request
from mailtls.api.solvers import challenge_type_of
from mailtls.api.spec import (
    DNS01,
    HTTP01,
    NO_CA,
    Acme,
    Bootstrap,
    Desired,
    Key,
    PrivateKeyPolicy,
    Probe,
    Renewal,
    RotationPolicy,
)
from mailtls.api.workload import Workload
from mailtls.hostname import certificate_name, named
from mailtls.pki.certificate import KeyAlgorithm
from mailtls.reasons.reason import Reason

__all__ = [
    "KEY_SIZES",
    "Defaults",
    "InvalidSpec",
    "default_acme",
    "parse",
    "secret_name",
    "workloads_listed",
]
KEY_SIZES = {KeyAlgorithm.ECDSA: (256, 384), KeyAlgorithm.RSA: (3072, 2048, 4096)}  # the first is the default
_LONGEST_LABEL = 63
_LONGEST_SECRET_NAME = 244  # leaves room for `-previous`
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the installation gives to resources that do not say, and to whom: without `allowed_names` to all.

    `solvers` is how solvers are read, for resources and installation alike.
    """

    solvers: SolverReader
    acme: Acme | None = None
    allowed_names: tuple[AllowedNames, ...] = ()
    probe_interval: timedelta = Probe().interval
    probe_client_name: str = Probe().client_name
    features: Features = field(default_factory=Features)


def parse(resource: Json, defaults: Defaults) -> Desired:
    """Turn the resource into what is wanted; raises `InvalidSpec`, and nothing else, for what cannot be carried out."""
    metadata, spec = Node("metadata", resource.get("metadata")), Node("spec", resource.get("spec"))
    namespace = object_name(metadata.at("namespace"))
    names, annotations = _dns_names(spec.at("dnsNames")), metadata.at("annotations")
    is_external = _is_external(spec)
    ca = NO_CA if is_external else _ca(spec, namespace, names, defaults)
    workloads = read_workloads(spec.at("workloads"))
    private_key = _private_key(spec.at("privateKey"))
    probing = probe(
        spec.at("probe"),
        ProbeDefaults(namespace, names[0], workloads, defaults.probe_interval, defaults.probe_client_name),
    )
    _check_key_size(spec.at("privateKey").at("size"), private_key, probing, workloads)
    return Desired(
        key=Key(namespace, object_name(metadata.at("name"))),
        uid=metadata.at("uid").text(),
        generation=metadata.at("generation").whole(0, 2**63),
        created_at=metadata.at("creationTimestamp").read(_time),
        dns_names=names,
        secret_name=secret_name(resource),
        acme=ca,
        private_key=private_key,
        renewal=_renewal(spec.at("renewal")),
        workloads=workloads,
        rollout=rollout(spec.at("rollout")),
        probe=probing,
        domains=domains(spec.at("domains")),
        suspend=spec.at("suspend").flag(default=False),
        is_external=is_external,
        bootstrap=_bootstrap(spec.at("bootstrap"), is_external=is_external),
        renew_requested=None if is_external else _request(annotations, Request.RENEW),
        probe_requested=_request(annotations, Request.PROBE),
        rollback_requested=None if is_external else _request(annotations, Request.ROLLBACK),
        is_paused=is_paused(annotations),
        approved=approved(annotations),
    )


def secret_name(resource: Json) -> str:
    """Return the name of the Secret that a resource claims, even if its spec is invalid; raises `InvalidSpec`."""
    given = Node("spec", resource.get("spec")).at("secretName")
    name = object_name(Node("metadata", resource.get("metadata")).at("name"))
    if len(name) > _LONGEST_LABEL:
        raise given.refused(
            "the resource's name labels its Secrets, so give the resource another name of at most 63 characters"
        )
    return object_name(given, _LONGEST_SECRET_NAME) if given.is_given else name


def workloads_listed(resource: Json) -> frozenset[str]:
    """Return which workloads a resource lists (`StatefulSet/postfix`); none where the list cannot be used."""
    try:
        return frozenset(str(each) for each in read_workloads(Node("spec", resource.get("spec")).at("workloads")))
    except InvalidSpec:
        return frozenset()


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("write a time with its time zone, such as 2026-08-01T12:00:00Z")


def _request(annotations: Node, request: Request) -> str | None:
    """Return the value of a request, whatever it is: any new value is one."""
    value = annotations.at(request.annotation).value
    return value if isinstance(value, str) else None


def _is_external(spec: Node) -> bool:
    """Whether somebody else writes the Secret; raises `InvalidSpec` where a CA to order from is named as well."""
    external = spec.at("external")
    if external.is_given and not isinstance(external.value, dict):
        raise external.refused("write an object here, such as external: {}")
    if external.is_given and spec.at("acme").is_given:
        raise external.refused("a certificate from elsewhere is never ordered here, so remove either external or acme")
    return external.is_given


def _bootstrap(node: Node, *, is_external: bool) -> Bootstrap | None:
    if node.is_given and is_external:
        raise node.refused(
            "whoever keeps a certificate from elsewhere writes its Secret, so remove either external or bootstrap"
        )
    return node.choice(Bootstrap) if node.is_given else None


def _ca(spec: Node, namespace: str, names: tuple[str, ...], defaults: Defaults) -> Acme:
    """Read whom to order from; raises `InvalidSpec` for names that may not be ordered, or could not be validated."""
    if (off := defaults.features.refusal(Feature.ISSUANCE)) is not None:
        raise InvalidSpec(off)
    ca = acme(spec.at("acme"), namespace, defaults.acme, defaults.solvers)
    _check_wildcards(spec.at("dnsNames"), names, ca)
    _check_allowed(spec.at("dnsNames"), namespace, names, ca, defaults.allowed_names)
    return ca


def _check_allowed(node: Node, namespace: str, names: Iterable[str], ca: Acme, rules: tuple[AllowedNames, ...]) -> None:
    """Refuse names that the rules withhold from a namespace, of all that the installation has a hand in.

    That is every name of its account, and with any account what is validated by HTTP-01: the operator answers it for
    all, so that a name which leads to it proves to a CA nothing about who ordered.
    """
    is_own, type_of = bool(ca.namespace), challenge_type_of(ca)
    refused = first_refused(rules, namespace, (each for each in names if not is_own or type_of(each) == HTTP01))
    if refused is None:
        return
    what = f"have {named(refused)} validated by HTTP-01" if is_own else f"order {named(refused)}"
    remedy = "list a dns01 solver for it" if is_own else "remove the name"
    raise node.refused(
        f"acme.allowedNames of the installation does not let namespace {namespace} {what}, so {remedy}, or let whoever"
        " installed the operator allow it",
        Reason.NAME_NOT_ALLOWED,
    )


def _dns_names(node: Node) -> tuple[str, ...]:
    names: list[str] = []
    for item in node.items(100):
        name = item.read(certificate_name)
        if name in names:
            raise node.refused("a name is listed twice, so remove one of the two")
        names.append(name)
    if not names:
        raise node.refused("name at least one host, such as mx1.example.com")
    if names[0].startswith("*"):
        raise node.refused("the first name is the one that mail clients dial, so put a name without a wildcard first")
    return tuple(names)


def _check_wildcards(node: Node, names: Sequence[str], ca: Acme) -> None:
    """Refuse wildcards that nothing could validate: CAs take DNS only for them (RFC 8555 section 7.1.3)."""
    by_dns = any(solver.settings.challenge_type == DNS01 for solver in ca.solvers)
    if not by_dns and any(name.startswith("*.") for name in names):
        raise node.refused(
            "a wildcard can only be validated by DNS, so add a dns01 solver to acme.solvers, or list each name"
        )


def _private_key(node: Node) -> PrivateKeyPolicy:
    algorithm, size, rotation = node.at("algorithm"), node.at("size"), node.at("rotationPolicy")
    kind = algorithm.choice(KeyAlgorithm) if algorithm.is_given else PrivateKeyPolicy().algorithm
    if size.is_given and size.value not in KEY_SIZES[kind]:
        raise size.refused(_WRONG_SIZE[kind])
    return PrivateKeyPolicy(
        algorithm=kind,
        size=size.whole(256, 4096) if size.is_given else KEY_SIZES[kind][0],
        rotation_policy=rotation.choice(RotationPolicy) if rotation.is_given else PrivateKeyPolicy().rotation_policy,
    )


def _check_key_size(node: Node, key: PrivateKeyPolicy, probe: Probe, workloads: Iterable[Workload]) -> None:
    """Refuse to make keys that the probe would have to fail."""
    own = [port.thresholds.minimum_rsa_bits for each in workloads for port in each.ports if port.thresholds]
    if key.algorithm is KeyAlgorithm.RSA and any(bits is not None and key.size < bits for bits in own):
        raise node.refused(
            "the probe would fail a key of this size, so make it as large as every thresholds.minimumRSABits of a port"
        )
    least = probe.thresholds.minimum_rsa_bits
    if least is not None and key.algorithm is KeyAlgorithm.RSA and key.size < least:
        raise node.refused(
            "the probe would fail a key of this size, so make it as large as probe.thresholds.minimumRSABits at least"
        )


_WRONG_SIZE = {
    KeyAlgorithm.ECDSA: (
        "an ECDSA key has 256 or 384 bits, so set one of these, leave size out, or set algorithm to RSA"
    ),
    KeyAlgorithm.RSA: (
        "an RSA key has 2048, 3072 or 4096 bits, so set one of these, leave size out, or set algorithm to ECDSA"
    ),
}


def _renewal(node: Node) -> Renewal:
    before = node.at("before")
    return Renewal(
        ari=node.at("ari").flag(default=Renewal().ari),
        before=duration(before, _HOUR, 8760 * _HOUR) if before.is_given else None,
    )
