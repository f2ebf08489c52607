"""What an ACME account is made of: its key in a Secret, the roots of its CA, the binding to an external account."""

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailtls.api.reading.document import Json
from mailtls.api.resource import ACCOUNT_EMAIL, ACCOUNT_URL, ACME_SERVER, MANAGED_BY, MANAGER, annotations_of
from mailtls.api.spec import Acme, DataRef
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.issuance.acme.session import Identity
from mailtls.kube.interface import ApiError, Cluster, Conflict, Unreachable
from mailtls.kube.references import object_path
from mailtls.reasons.reason import Finding, Reason, Severity

_log = structlog.get_logger(__name__)
KEY_ENTRY = "account.key"
SCOPE_LABEL = "mailtls.dev/account-scope"  # the namespace whose account it is


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that an account is made of; a change makes a new one."""

    identity: Identity
    roots_pem: str
    secret: str | None  # the path of the Secret that this operator keeps, None for a user's key
    new_account: str  # how another account is made, for when this one was deactivated
    secret_uid: str | None = None


class AccountSecrets:
    """Reads, and makes where it is ours to make, what accounts need; `default_roots` are in PEM, by directory URL."""

    def __init__(self, cluster: Cluster, operator_namespace: str, default_roots: dict[str, str]) -> None:
        self._cluster, self._namespace, self._default_roots = cluster, operator_namespace, default_roots

    def secret_of(self, acme: Acme) -> DataRef:
        """Say where this operator keeps the key of an account that names none."""
        return DataRef("Secret", acme.namespace or self._namespace, secret_name(acme), KEY_ENTRY)

    def read(self, ref: DataRef) -> bytes:
        """Return an entry of a Secret or ConfigMap; raises `AcmeProblem` (CredentialsMissing) that names both."""
        found = self._cluster.get(object_path(ref))
        if found is None:
            raise missing(f"Create the {ref.kind} {ref.namespace}/{ref.name} with the entry {ref.key}")
        return _content(found, ref)

    def inputs(self, acme: Acme) -> Inputs:
        """Return all that the account is made of; a key of our own is made and saved where there is none.

        Raises `AcmeProblem` (CredentialsMissing) and what the `Cluster` raises.
        """
        roots = self.roots(acme)
        binding = self._binding(acme)
        if acme.account_key is not None:
            identity = Identity(acme.server, self.read(acme.account_key), acme.email, binding)
            named = f"Secret {acme.account_key.namespace}/{acme.account_key.name}"
            return Inputs(identity, roots, None, f"Store another key in the {named}, so that a new account is made")
        own = self.secret_of(acme)
        namespace, path = own.namespace, object_path(own)
        secret = self._cluster.get(path) or self._create(path, namespace, acme)
        if acme.namespace:
            _check_scope(secret, namespace)
        key_pem = _content(secret, own)
        url = annotations_of(secret).get(ACCOUNT_URL)
        new_account = f"Delete the Secret {namespace}/{own.name}, so that a new account is made"
        identity = Identity(acme.server, key_pem, acme.email, binding, url)
        return Inputs(identity, roots, path, new_account, secret["metadata"]["uid"])

    def roots(self, acme: Acme) -> str:
        """Return the roots that are named for a CA, in PEM; empty where those trusted by default are meant."""
        if acme.ca_bundle is None:
            return self._default_roots.get(acme.server, "")
        return self.read(acme.ca_bundle).decode(errors="replace")

    def _binding(self, acme: Acme) -> tuple[str, str] | None:
        binding = acme.external_account_binding
        if binding is None:
            return None
        return binding.key_id, self.read(binding.hmac_key).decode(errors="replace").strip()

    def _create(self, path: str, namespace: str, acme: Acme) -> Json:
        collection, name = path.rsplit("/", 1)
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {MANAGED_BY: MANAGER, SCOPE_LABEL: namespace},
                "annotations": {ACME_SERVER: acme.server, ACCOUNT_EMAIL: acme.email or ""},
            },
            "type": "Opaque",
            "data": {KEY_ENTRY: base64.b64encode(_new_key()).decode()},
        }
        try:
            return self._cluster.create(collection, secret)
        except Conflict:  # another replica was faster: its key is the account's
            found = self._cluster.get(path)
            if found is None:
                raise
            return found

    def save_url(self, path: str, uid: str | None, url: str) -> None:
        """Note the account's URL on the very Secret of its key; not to know it costs one request."""
        try:
            self._cluster.merge(path, {"metadata": {"uid": uid, "annotations": {ACCOUNT_URL: url}}})
        except (ApiError, Unreachable) as error:
            # Registering again with the same key returns the same account.
            _log.warning("account.url.unsaved", account=url, error=str(error))


def secret_name(acme: Acme) -> str:
    """Name the Secret of a CA's account key.

    An external account is part of the name, with the namespace that holds its key: nobody may use another's by
    naming its key id.
    """
    binding = acme.external_account_binding
    bound = [binding.key_id, binding.hmac_key.namespace] if binding else []
    digest = hashlib.sha256("\n".join([acme.server, acme.email or "", *bound]).encode()).hexdigest()
    return f"mailtls-account-{digest[:12]}"


def _check_scope(secret: Json, namespace: str) -> None:
    metadata = secret["metadata"]
    labels = metadata.get("labels") or {}
    if labels.get(MANAGED_BY) == MANAGER and labels.get(SCOPE_LABEL) == namespace:
        return
    raise missing(
        f"Remove the Secret {namespace}/{metadata['name']}, where the operator keeps an account key of this namespace:"
        f" it lacks the labels {MANAGED_BY}={MANAGER} and {SCOPE_LABEL}={namespace}; an account key of your own belongs"
        " into acme.accountKeySecretRef"
    )


def _new_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _content(found: Json, ref: DataRef) -> bytes:
    plain = None if ref.kind == "Secret" else (found.get("data") or {}).get(ref.key)
    if plain is not None:
        return str(plain).encode()
    encoded = (found.get("data" if ref.kind == "Secret" else "binaryData") or {}).get(ref.key)
    if encoded is None:
        raise missing(f"Add the entry {ref.key} to the {ref.kind} {ref.namespace}/{ref.name}")
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise missing(f"Repair the entry {ref.key} of the {ref.kind} {ref.namespace}/{ref.name}") from None


def trusted_roots(
    installation: str, named: DataRef | None, read: Callable[[DataRef], bytes]
) -> tuple[str, Finding | None]:
    """Return the roots to trust besides the system's, in PEM: the installation's, and those of `spec.probe.trust`.

    With a warning where those that are named cannot be read: they are not trusted until then.
    """
    if named is None:
        return installation, None
    try:
        return f"{installation}\n{read(named).decode(errors='replace')}", None
    except AcmeProblem as absent:
        said = absent.finding
        words = f"{said.message.rstrip('.')}, as probe.trust names it; its roots are not trusted until then."
        return installation, Finding(said.reason, words, Severity.WARN)


def missing(message: str) -> AcmeProblem:
    """Say what a person has to correct; transient, as no event says when that is done, and a check costs nothing."""
    return AcmeProblem(Finding(Reason.CREDENTIALS_MISSING, f"{message}."), transient=True, needs_person=True)
