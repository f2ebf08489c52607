"""ACME accounts by namespace, CA and e-mail address, their keys kept in Secrets.

The installation's account has its Secret in the operator's namespace. Each other account belongs to the namespace of
the resources that name it: it is never shared with another, and its Secret is there. A CA hands valid authorizations
of an account out again, so whoever shares the account needs no validation for them.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256

import structlog

from mailtls.api.spec import Acme, DataRef, Key
from mailtls.issuance.acme.account import Account
from mailtls.issuance.acme.account_secrets import AccountSecrets, Inputs, missing
from mailtls.issuance.acme.breaker import Gates
from mailtls.issuance.acme.network import ClockWatch, OnRequest, OnSkew
from mailtls.issuance.acme.order_rate import KNOWN, Budget, BudgetState, OrderRateLimiter
from mailtls.issuance.acme.orders import Uses
from mailtls.issuance.acme.problem import busy
from mailtls.issuance.acme.session import Session
from mailtls.issuance.acme.transport import MakeTransport, Transport
from mailtls.kube.interface import Cluster, Unreachable
from mailtls.net.addresses import AddressPolicy
from mailtls.net.shared_work import Busy, SharedWork
from mailtls.times import Clock

_log = structlog.get_logger(__name__)
# How long a change of a key, bundle or binding may go unseen; reading them for every step would load the API server.
_CHECKED_AGAIN_AFTER = timedelta(seconds=30)
MOST_ACCOUNTS = 16  # of one namespace are held in memory; one that is used again is read from its Secret again
_MOST_ASKED = 10_000  # resources that use one account; one that is forgotten ends all waits with each step it takes
_PATIENCE = 2.0  # seconds that a worker waits for an account that another one makes
_HURRIED_AGAIN_AFTER = timedelta(minutes=1)  # a CA's waits are of all who use the account, and one may ask in a loop
_IDLE = timedelta(hours=7)  # longer than resources wait between two questions about their renewal window
_Key = tuple[str | DataRef | None, ...]


@dataclass(slots=True)
class _Entry:
    """One account in memory; `changes` counts how often what it is made of was said to have changed."""

    order_rate: OrderRateLimiter
    account: Account | None = None
    inputs: Inputs | None = None
    checked_at: datetime | None = None
    used_at: datetime | None = None
    changes: int = 0
    asked: dict[Key, bytes] = field(default_factory=dict)  # hashes of the renewals that people asked for last
    hurried_at: datetime | None = None  # when one of these last ended the waits


class Accounts:
    """Thread-safe; hands every worker the same `Account` for the same CA.

    `default_ca_bundle_pem` is trusted for `default_server`, where a resource names no bundle of its own. `order_limits`
    by directory URL go before those that are known of CAs. `on_skew` is called with what `default_server` says of the
    clock; a CA that a tenant names proves nothing. Servers at addresses that `policy` refuses are not connected to;
    without one all are. `retried` is called with the kind of back-off whenever a CA is left alone.
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
        transport: MakeTransport = Transport,
        retried: Callable[[str], None] = lambda _kind: None,
    ) -> None:
        default_roots = {default_server: default_ca_bundle_pem} if default_server else {}
        self.secrets = AccountSecrets(cluster, operator_namespace, default_roots)
        self._clock, self._on_request, self._watch = clock, on_request, ClockWatch(clock, on_skew)
        self._default_server = default_server
        self._policy, self._gates, self._shared = policy, Gates(clock.now, retried), SharedWork()
        self._transport = transport
        self._limits = {**KNOWN, **(order_limits or {})}
        self.uses = Uses()
        self._entries: dict[_Key, _Entry] = {}
        self._lock = threading.Lock()

    def of(self, acme: Acme) -> Account:
        """Return the account for a CA; its key is saved before the CA receives it.

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

    @property
    def held(self) -> int:
        """How many accounts are held in memory."""
        with self._lock:
            return len(self._entries)

    def budgets(self) -> Mapping[tuple[str, str], BudgetState]:
        """Return what is left of the order limits, by namespace of the account and ACME server.

        Servers without a limit are left out, so that no resource can name new ones.
        """
        with self._lock:
            held = [(str(key[0] or ""), str(key[1]), entry.order_rate) for key, entry in self._entries.items()]
        found: dict[tuple[str, str], BudgetState] = {}
        for namespace, server, rate in held:
            if (state := rate.state()) is not None:
                before = found.get((namespace, server))
                found[namespace, server] = state.with_another(before) if before else state
        return found

    def release(self, acme: Acme, ticket: str) -> None:
        """Give back what an order held in its account's order rate limiter, as it will not be placed; asks nobody."""
        with self._lock:
            entry = self._entries.get(_key(acme))
        if entry is not None:
            entry.order_rate.release(ticket)

    def look_again(self, acme: Acme) -> None:
        """Read what the account is made of anew before it is used the next time, and end its waits: it was changed."""
        entry = self._entry(acme)
        entry.changes += 1
        entry.checked_at = None
        self._gates.of(acme.server).hurry()
        if entry.account is not None:
            entry.account.hurry()

    def asked(self, acme: Acme, resource: Key, renewal: str) -> None:
        """Let a person's request for a renewal end all waits of the account: once for each, and once a minute.

        Within that minute the CA has just been asked, so that a wait which stands is its answer to the one before.
        """
        entry, digest = self._entry(acme), sha256(renewal.encode(errors="surrogatepass")).digest()
        now = self._clock.now()
        with self._lock:
            if entry.asked.get(resource) == digest:
                return
            while len(entry.asked) >= _MOST_ASKED:
                del entry.asked[next(iter(entry.asked))]
            entry.asked[resource] = digest
            if entry.hurried_at is not None and abs(now - entry.hurried_at) < _HURRIED_AGAIN_AFTER:
                return
            entry.hurried_at = now
        self.look_again(acme)

    def _entry(self, acme: Acme) -> _Entry:
        key, now = _key(acme), self._clock.now()
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is None:
                self._forget(acme.namespace, now)
                entry = _Entry(OrderRateLimiter(self._limits.get(acme.server), self._clock.now))
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
            inputs = self.secrets.inputs(acme)
        except Unreachable:
            if entry.account is None:
                raise
            return  # the account in memory goes on while the API server is away
        if inputs != entry.inputs:
            entry.account = Account(self._session(inputs), entry.order_rate)
            entry.inputs = inputs

    def _session(self, inputs: Inputs) -> Session:
        try:
            return Session(
                inputs.identity,
                self._clock,
                self._on_request,
                roots_pem=inputs.roots_pem,
                on_registered=(
                    partial(self.secrets.save_url, inputs.secret, inputs.secret_uid)
                    if inputs.secret
                    else lambda _url: None
                ),
                watch=self._watch if inputs.identity.directory_url == self._default_server else None,
                policy=self._policy,
                gate=self._gates.of(inputs.identity.directory_url),
                new_account=inputs.new_account,
                transport=self._transport,
            )
        except (ValueError, TypeError, OSError) as error:  # OSError: ssl's complaint about a bundle
            raise missing(f"Store a key and a CA bundle in PEM for {inputs.identity.directory_url}: {error}") from None


def _key(acme: Acme) -> _Key:
    binding = acme.external_account_binding
    bound = (binding.key_id, binding.hmac_key) if binding else (None, None)
    return (acme.namespace, acme.server, acme.email, acme.account_key, acme.ca_bundle, *bound)
