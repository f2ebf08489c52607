"""Reads `acme`: of a resource's spec, and of the installation's settings, which have the same shape."""

import re
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol
from urllib.parse import urlsplit

from mailtls.api.reading.document import Json, Node
from mailtls.api.spec import Acme, DataRef, ExternalAccountBinding, SolverSettings, SolverSpec
from mailtls.hostname import zone_name
from mailtls.reasons.reason import Reason

SHORT_NAMES = MappingProxyType(
    {
        "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
        "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
    }
)
STAGING = SHORT_NAMES["letsencrypt-staging"]
_OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_ENTRY = re.compile(r"[-._a-zA-Z0-9]+")
_EMAIL = re.compile(r"[A-Za-z0-9!#$&*+/=^_{|}~.-]+@([A-Za-z0-9-]+[.])+[A-Za-z0-9-]+")


class SolverReader(Protocol):
    """Reads a solver's settings: the registry of solvers, which knows every provider."""

    def read(self, node: Node, namespace: str) -> SolverSettings:
        """Read an entry of `solvers`; raises `InvalidSpec`."""


def default_acme(settings: Json | None, namespace: str, solvers: SolverReader) -> Acme | None:
    """Read the installation's CA from `settings`, in the shape of `spec.acme`; None where there is none.

    References are to objects in `namespace`, the operator's. Empty values count as absent, because Helm's values cannot
    be taken away. Raises `InvalidSpec`.
    """
    given = {name: value for name, value in (settings or {}).items() if value not in ("", [], {}, None)}
    if not given:
        return None
    node = Node("acme", given)
    server = node.at("server")
    if not server.is_given:
        raise server.refused("name the CA: letsencrypt, letsencrypt-staging, or the https URL of an ACME directory")
    return _acme(node, namespace, directory_url(server), solvers)


def acme(node: Node, namespace: str, default: Acme | None, solvers: SolverReader) -> Acme:
    """Read `spec.acme`, with what it leaves out taken from the installation's `default`.

    Account and solvers travel together: a resource that names another server, e-mail address, account key, external
    account or CA bundle has an account of its namespace and brings its own solvers. Otherwise its CA could have the
    installation's solvers answer the challenges of another CA. Raises `InvalidSpec`, with `NoSolver` where names could
    not be validated at all.
    """
    chosen = default if not node.is_given else _overriding(node, namespace, default, solvers)
    if chosen is None:
        raise node.refused("there is no CA to order from, so give acme.server here, or acme in the Helm values")
    if not chosen.solvers and chosen.namespace and default is not None:
        raise node.at("solvers").refused(
            "the installation's solvers serve only its own account at its own ACME server, so list a solver here"
            f"{_unseen_by_the_schema(chosen, default)}",
            Reason.NO_SOLVER,
        )
    if not chosen.solvers:
        raise node.at("solvers").refused(
            "no solver can validate the names, so list one here, or set acme.solvers in the Helm values",
            Reason.NO_SOLVER,
        )
    return chosen


def data_ref(node: Node, namespace: str, *, kind: str = "Secret", default_key: str | None = None) -> DataRef:
    """Read a reference to one entry of a Secret or ConfigMap in `namespace`; another namespace cannot be named."""
    key = node.at("key")
    return DataRef(
        kind=kind,
        namespace=namespace,
        name=object_name(node.at("name")),
        key=default_key if default_key and not key.is_given else key.matching(_ENTRY, "write the name of an entry"),
    )


def bundle_ref(node: Node, namespace: str) -> DataRef | None:
    """Read a reference to PEM certificates in a Secret or a ConfigMap."""
    if not node.is_given:
        return None
    secret, config_map = node.at("secretKeyRef"), node.at("configMapKeyRef")
    if secret.is_given == config_map.is_given:
        raise node.refused("give exactly one of secretKeyRef and configMapKeyRef")
    if secret.is_given:
        return data_ref(secret, namespace, default_key="ca.crt")
    return data_ref(config_map, namespace, kind="ConfigMap", default_key="ca.crt")


def object_name(node: Node, most: int = 253) -> str:
    """Read the name of an object of the cluster."""
    return node.matching(
        _OBJECT_NAME, "write a name such as mx-tls, of lower-case letters, digits, hyphens and inner dots", most
    )


def directory_url(node: Node) -> str:
    """Read an ACME server, by its short name or as an https URL (RFC 8555 section 6.1 demands https)."""
    text = node.text(512)
    if text in SHORT_NAMES:
        return SHORT_NAMES[text]
    if text.startswith("http://"):
        raise node.refused("use an https URL: over http anybody on the path could answer instead of the CA")
    if not _is_https_url(text):
        raise node.refused("write letsencrypt, letsencrypt-staging, or the https URL of an ACME directory")
    return text


def _is_https_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme == "https" and bool(parts.hostname) and parts.port != 0 and " " not in text
    except ValueError:
        return False


def _overriding(node: Node, namespace: str, default: Acme | None, solvers: SolverReader) -> Acme | None:
    server = node.at("server")
    if not server.is_given and default is None:
        return None
    url = directory_url(server) if server.is_given or default is None else default.server
    own = _acme(node, namespace, url, solvers)
    if default is None or _difference(own, default):
        return _with_own_account(own, namespace, default)
    return replace(
        default,
        solvers=own.solvers or default.solvers,
        profile=own.profile or default.profile,
        preferred_chain=own.preferred_chain or default.preferred_chain,
        common_name=own.common_name,
    )


def _difference(own: Acme, default: Acme) -> str:
    """Say by what `own` leaves the installation's account; empty where it does not."""
    differences = {
        "another server is named": own.server != default.server,
        "another e-mail address is named": own.email not in {None, default.email},
        "an account key is named": own.account_key is not None,
        "an external account is named": own.external_account_binding is not None,
        "a CA bundle is named": own.ca_bundle is not None,
    }
    return next((words for words, is_so in differences.items() if is_so), "")


def _unseen_by_the_schema(own: Acme, default: Acme) -> str:
    """Say the difference where the API server cannot know it: its rule says the rest in the same words."""
    is_seen = own.account_key is not None or own.external_account_binding is not None
    return "" if is_seen else f": {_difference(own, default)}"


def _with_own_account(own: Acme, namespace: str, default: Acme | None) -> Acme:
    """Give it an account of its namespace; what is no credential may still be the installation's at its own server."""
    if default is None or own.server != default.server:
        return replace(own, namespace=namespace)
    return replace(
        own,
        profile=own.profile or default.profile,
        preferred_chain=own.preferred_chain or default.preferred_chain,
        ca_bundle=own.ca_bundle or default.ca_bundle,
        namespace=namespace,
    )


def _acme(node: Node, namespace: str, server: str, solvers: SolverReader) -> Acme:
    email, profile, chain = node.at("email"), node.at("profile"), node.at("preferredChain")
    account_key, common_name = node.at("accountKeySecretRef"), node.at("commonName")
    mail_address = "write one bare mail address such as postmaster@example.com"
    return Acme(
        server=server,
        email=email.matching(_EMAIL, mail_address, 254) if email.is_given else None,
        solvers=tuple(_solver(solver, namespace, solvers) for solver in node.at("solvers").items(32)),
        profile=profile.text(64) if profile.is_given else None,
        preferred_chain=chain.text(128) if chain.is_given else None,
        ca_bundle=bundle_ref(node.at("caBundle"), namespace),
        external_account_binding=_external_account_binding(node.at("externalAccountBinding"), namespace),
        account_key=data_ref(account_key, namespace, default_key="tls.key") if account_key.is_given else None,
        common_name=common_name.flag(default=False),
    )


def _external_account_binding(node: Node, namespace: str) -> ExternalAccountBinding | None:
    if not node.is_given:
        return None
    return ExternalAccountBinding(
        key_id=node.at("keyID").text(512), hmac_key=data_ref(node.at("hmacKeySecretRef"), namespace)
    )


def _solver(node: Node, namespace: str, solvers: SolverReader) -> SolverSpec:
    settings = solvers.read(node, namespace)
    zones = node.at("selector").at("dnsZones").items(64)
    return SolverSpec(settings, tuple(zone.read(zone_name) for zone in zones))
