"""ACME accounts by namespace, CA and e-mail address, their keys kept in Secrets.

The installation's account has its Secret in the operator's namespace. Each other account belongs to the namespace of
the resources that name it: it is never shared with another, and its Secret is there. A CA hands valid authorizations
of an account out again, so whoever shares the account needs no validation for them.
"""

import base64
import binascii
import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailtls.model.address_policy import AddressPolicy
from mailtls.model.budget import Budget
from mailtls.model.reason import Finding, Reason
from mailtls.model.spec import Acme, DataRef, Key
from mailtls.world.acme.account import Account
from mailtls.world.acme.breaker import Gates
from mailtls.world.acme.clock import ClockWatch, OnSkew
from mailtls.world.acme.network import OnRequest
from mailtls.world.acme.order_line import KNOWN, OrderLine
from mailtls.world.acme.problem import AcmeProblem, busy
from mailtls.world.acme.session import Identity, Session
from mailtls.world.acme.uses import Uses
from mailtls.world.cluster.references import object_path
from mailtls.world.cluster.resource import MANAGED_BY, MANAGER
from mailtls.world.ports import ApiError, Clock, Cluster, Conflict, Json, Unreachable
from mailtls.world.shared_work import Busy, SharedWork

_log = structlog.get_logger(__name__)

KEY_ENTRY = "account.key"
URL_ANNOTATION = "mailtls.dev/account-url"
SCOPE_LABEL = "mailtls.dev/account-scope"  # the namespace whose account it is

# How long a change of a key, bundle or binding may go unseen; reading them for every step would load the API server.
_CHECKED_AGAIN_AFTER = timedelta(seconds=30)
MOST_ACCOUNTS = 16  # of one namespace are held in memory; one that is used again is read from its Secret again
_MOST_ASKED = 1000
_PATIENCE = 2.0  # seconds that a worker waits for an account that another one makes
_IDLE = timedelta(hours=7)  # longer than resources wait between two questions about their renewal window
_Key = tuple[str | DataRef | None, ...]


@dataclass(frozen=True, slots=True)
class _Inputs:
    """All that an account is made of; a change makes a new one."""

    identity: Identity
    roots_pem: str
    secret: str | None  # the path of the Secret that this operator keeps, None for a user's key
    new_account: str  # how another account is made, for when this one was deactivated


@dataclass(slots=True)
class _Entry:
    """One account in memory; `changes` counts how often what it is made of was said to have changed."""

    line: OrderLine
    account: Account | None = None
    inputs: _Inputs | None = None
    checked_at: datetime | None = None
    used_at: datetime | None = None
    changes: int = 0
    asked: dict[Key, str] = field(default_factory=dict)  # the renewals that people asked for last


class Accounts:
    """Thread-safe; hands every worker the same `Account` for the same authority.

    `default_ca_bundle_pem` is trusted for `default_server`, where a resource names no bundle of its own. `order_limits`
    by directory URL go before those that are known of CAs. Servers at addresses that `policy` refuses are not connected
    to; without one all are.
    """

    def __init__(
        self,
        cluster: Cluster,
        operator_namespace: str,
        clock: Clock,
        on_request: OnRequest,
        *,
        default_server: str = "",
        default_ca_bundle_pem: str = "",
        on_skew: OnSkew = lambda _server, _seconds: None,
        order_limits: Mapping[str, Budget | None] | None = None,
        policy: AddressPolicy | None = None,
    ) -> None:
        self._cluster, self._namespace = cluster, operator_namespace
        self._clock, self._on_request, self._watch = clock, on_request, ClockWatch(clock, on_skew)
        self._default_roots = {default_server: default_ca_bundle_pem} if default_server else {}
        self._policy, self._gates, self._shared = policy, Gates(clock.now), SharedWork()
        self._limits = {**KNOWN, **(order_limits or {})}
        self.uses = Uses()
        self._entries: dict[_Key, _Entry] = {}
        self._lock = threading.Lock()

    def of(self, acme: Acme) -> Account:
        """Return the account for an authority; its key is saved before the CA hears of it.

        Raises `AcmeProblem` with CredentialsMissing or ExternalAccountRequired, and what the `Cluster` raises.
        """
        entry, key = self._entry(acme), _key(acme)
        while (account := entry.account) is None or self._is_stale(entry):
            try:
                is_only_old = account is not None and entry.checked_at is not None
                self._shared.do(key, lambda: self._refresh(entry, acme), 0.0 if is_only_old else _PATIENCE)
            except Busy:
                if account is None:
                    raise busy(acme.server) from None
                return account  # what is held goes on while another thread looks
        return account

    def _is_stale(self, entry: _Entry) -> bool:
        return entry.checked_at is None or self._clock.now() - entry.checked_at > _CHECKED_AGAIN_AFTER

    def secret_of(self, acme: Acme) -> DataRef:
        """Say where this operator keeps the key of an account that names none."""
        return DataRef("Secret", acme.namespace or self._namespace, secret_name(acme), KEY_ENTRY)

    def read(self, ref: DataRef) -> bytes:
        """Return an entry of a Secret or ConfigMap; raises `AcmeProblem` (CredentialsMissing) that names both."""
        found = self._cluster.get(object_path(ref))
        if found is None:
            raise _missing(f"Create the {ref.kind} {ref.namespace}/{ref.name} with the entry {ref.key}")
        return _content(found, ref)

    @property
    def held(self) -> int:
        """How many accounts are held in memory."""
        with self._lock:
            return len(self._entries)

    def release(self, acme: Acme, ticket: str) -> None:
        """Give back what an order held in the line of its account, because it will not be placed; asks nobody."""
        with self._lock:
            entry = self._entries.get(_key(acme))
        if entry is not None:
            entry.line.release(ticket)

    def look_again(self, acme: Acme) -> None:
        """Read what the account is made of anew before it is used the next time, and end its waits: it was changed."""
        entry = self._entry(acme)
        entry.changes += 1
        entry.checked_at = None
        self._gates.of(acme.server).hurry()
        if entry.account is not None:
            entry.account.hurry()

    def asked(self, acme: Acme, resource: Key, renewal: str) -> None:
        """Let a person's request for a renewal end all waits of the account, once for each request."""
        entry = self._entry(acme)
        if entry.asked.get(resource) == renewal:
            return
        while len(entry.asked) >= _MOST_ASKED:
            del entry.asked[next(iter(entry.asked))]
        entry.asked[resource] = renewal
        self.look_again(acme)

    def _entry(self, acme: Acme) -> _Entry:
        key, now = _key(acme), self._clock.now()
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is None:
                self._forget(acme.namespace, now)
                entry = _Entry(OrderLine(self._limits.get(acme.server), self._clock.now))
            entry.used_at = now
            self._entries[key] = entry  # the last is the one used last
            return entry

    def _forget(self, namespace: str, now: datetime) -> None:
        """Make room: whatever resources write, memory has an end; the installation's account is always kept."""
        others = [key for key in self._entries if key[0]]
        idle = {key for key in others if now - (self._entries[key].used_at or now) > _IDLE}
        theirs = [key for key in others if key[0] == namespace and key not in idle]
        for key in idle.union(theirs[: max(0, len(theirs) - MOST_ACCOUNTS + 1)]):
            del self._entries[key]

    def _refresh(self, entry: _Entry, acme: Acme) -> None:
        changes, now = entry.changes, self._clock.now()
        self._renew(entry, acme)
        if changes == entry.changes:  # else what was read may be older than the change
            entry.checked_at = now

    def _renew(self, entry: _Entry, acme: Acme) -> None:
        try:
            inputs = self._inputs(acme)
        except Unreachable:
            if entry.account is None:
                raise
            return  # the account in memory goes on while the API server is away
        if inputs != entry.inputs:
            entry.account = Account(self._session(inputs), entry.line)
            entry.inputs = inputs

    def _session(self, inputs: _Inputs) -> Session:
        try:
            return Session(
                inputs.identity,
                self._clock,
                self._on_request,
                roots_pem=inputs.roots_pem,
                on_registered=self._saver(inputs.secret),
                watch=self._watch,
                policy=self._policy,
                gate=self._gates.of(inputs.identity.directory_url),
                new_account=inputs.new_account,
            )
        except (ValueError, TypeError, OSError) as error:  # OSError: ssl's complaint about a bundle
            raise _missing(f"Store a key and a CA bundle in PEM for {inputs.identity.directory_url}: {error}") from None

    def _inputs(self, acme: Acme) -> _Inputs:
        roots = self.roots(acme)
        binding = self._binding(acme)
        if acme.account_key is not None:
            identity = Identity(acme.server, self.read(acme.account_key), acme.email, binding)
            named = f"Secret {acme.account_key.namespace}/{acme.account_key.name}"
            return _Inputs(identity, roots, None, f"Store another key in the {named}, so that a new account is made")
        own = self.secret_of(acme)
        namespace, path = own.namespace, object_path(own)
        secret = self._cluster.get(path) or self._create(path, namespace, acme)
        if acme.namespace:
            _check_scope(secret, namespace)
        key_pem = _content(secret, own)
        url = (secret["metadata"].get("annotations") or {}).get(URL_ANNOTATION)
        new_account = f"Delete the Secret {namespace}/{own.name}, so that a new account is made"
        return _Inputs(Identity(acme.server, key_pem, acme.email, binding, url), roots, path, new_account)

    def roots(self, acme: Acme) -> str:
        """Return the roots that are named for an authority, in PEM; empty where those trusted by default are meant."""
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
                "annotations": {"mailtls.dev/acme-server": acme.server, "mailtls.dev/acme-email": acme.email or ""},
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

    def _saver(self, path: str | None) -> Callable[[str], None]:
        def save(url: str) -> None:
            if path is None:
                return
            try:
                self._cluster.merge(path, {"metadata": {"annotations": {URL_ANNOTATION: url}}})
            except (ApiError, Unreachable) as error:
                # Registering again with the same key returns the same account: that costs one request.
                _log.warning("account.url.unsaved", account=url, error=str(error))

        return save


def _key(acme: Acme) -> _Key:
    binding = acme.external_account_binding
    bound = (binding.key_id, binding.hmac_key) if binding else (None, None)
    return (acme.namespace, acme.server, acme.email, acme.account_key, acme.ca_bundle, *bound)


def secret_name(acme: Acme) -> str:
    """Name the Secret of an authority's account key.

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
    raise _missing(
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
        raise _missing(f"Add the entry {ref.key} to the {ref.kind} {ref.namespace}/{ref.name}")
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise _missing(f"Repair the entry {ref.key} of the {ref.kind} {ref.namespace}/{ref.name}") from None


def _missing(message: str) -> AcmeProblem:
    # Nobody tells when a person has put it right, and looking again costs the CA nothing.
    return AcmeProblem(Finding(Reason.CREDENTIALS_MISSING, f"{message}."), transient=True, needs_person=True)
