"""What is: everything a decision may look at, gathered before it is asked and renewed after each step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mailtls.api.spec import Key
from mailtls.api.status import DomainReport, HistoryEntry, Schedule, Status
from mailtls.issuance.order_state import OrderState
from mailtls.kube.workload import WorkloadState
from mailtls.maildomain.facts import MailDomain
from mailtls.pki.certificate import Certificate, KeyAlgorithm, KeyMaterial
from mailtls.probe.target import Depth, Endpoint, Target
from mailtls.reasons.reason import Finding
from mailtls.rollout.steps import RollProgress


@dataclass(frozen=True, slots=True)
class Hold:
    """What a rollback asks for: no other certificate before `until`, as long as the spec is of this generation."""

    until: datetime
    generation: int


@dataclass(frozen=True, slots=True)
class ServingSecret:
    """The Secret that pods mount.

    `certificate`, `key` and `key_spki_sha256` are None when the data cannot be read; `acme_server` is the directory it
    came from, None when somebody else made it; `foreign` names a fault that forbids touching it. It is written over
    only while it has the `resource_version` that was read. `hold` is there when the pair was rolled back to. `made_at`
    is when the Secret came to be, with whatever in it.

    `is_ours` while it has our labels, or is the very Secret that we stored in, which then `lacks_labels`.
    `is_asked_for`: somebody asked on it that we take it over. `adopted` is there once we did: the SHA-256 of the leaf
    that it held then. `writer` is the field manager besides us that wrote it last. `order_seal` says for which order we
    stored the pair; `is_of_the_order` where it is the one that is open.
    """

    certificate: Certificate | None = None
    key_spki_sha256: str | None = None
    acme_server: str | None = None
    profile: str | None = None
    handled_renew: str | None = None
    handled_rollback: str | None = None
    hold: Hold | None = None
    foreign: Finding | None = None
    exists: bool = True
    key: KeyMaterial | None = None
    resource_version: str | None = None
    made_at: datetime | None = None
    is_ours: bool = False
    lacks_labels: bool = False
    is_asked_for: bool = False
    adopted: str | None = None
    name: str = ""
    uid: str | None = None
    writer: str | None = None
    order_seal: str | None = None
    is_of_the_order: bool = False


@dataclass(frozen=True, slots=True)
class Staged:
    """The next key, saved before it is used, with the journal of the order it is for.

    `is_open` until the order is over and its challenges are removed; `order_url` None: an order was meant, and whether
    the CA heard of it is not known. `replaces_sha256` is the leaf that served when it was staged, None where none did.
    """

    spki_sha256: str
    key_algorithm: KeyAlgorithm | None
    key_size: int
    names: tuple[str, ...]
    acme_server: str
    profile: str | None
    is_open: bool
    staged_at: datetime
    key: KeyMaterial
    csr_der: bytes = field(repr=False)
    resource_version: str
    order_url: str | None = None
    replaces_sha256: str | None = None
    seal: str = ""  # of what does not change, by which the order's own is made


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a chapter cannot go on in this pass, and when to try again (None: a person is needed).

    `is_final`: the order is over. `lasts`: it goes on, but later passes wait for `retry_at` as well.
    """

    finding: Finding
    retry_at: datetime | None
    is_final: bool = False
    lasts: bool = False


@dataclass(frozen=True, slots=True)
class Sight:
    """How an object that the resource refers to looked; `version` is empty where there was none."""

    path: str
    version: str
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DomainsAsked:
    """What the last look at the mail domains was for, and when the next one is due if none of that changes.

    `served` are the leaves that pods were known to serve then: TLSA records speak of them.
    """

    domains: tuple[MailDomain, ...]
    served: frozenset[str]
    probe_requested: str | None
    again_at: datetime


@dataclass(frozen=True, slots=True)
class LoginRefusal:
    """A trial login that a server turned down; by `version` of the Secret with the credentials, and by which `wish`."""

    target: Target
    finding: Finding
    refused_at: datetime
    version: str
    wish: str | None = None  # the value of the annotation mailtls.dev/probe


@dataclass(frozen=True, slots=True)
class Observed:
    """One resource's world at one moment.

    Fields that are None were not looked at yet. `order`, `presented`, `chain` are this process's memory of the open
    order; the journal in `staged` is what survives it. `wait_until` holds the order back while a proof spreads.
    """

    status: Status
    secret: ServingSecret
    resource: dict[str, Any] = field(default_factory=dict, repr=False)  # as read, for the journal
    staged: Staged | None = None
    copy: ServingSecret | None = None  # our own copy of the pair that serves, to put the Secret right from
    holder: Key | None = None
    order: OrderState | None = None
    presented: frozenset[str] = frozenset()
    published: frozenset[str] = frozenset()  # challenges whose proofs are out, seen or not
    chain: Certificate | None = None
    wait_until: datetime | None = None
    schedule: Schedule | None = None
    ask_ca_again_at: datetime | None = None
    workloads: tuple[WorkloadState, ...] | None = None
    endpoints: tuple[Endpoint, ...] = ()
    set_aside: tuple[Endpoint, ...] = ()  # what was learned of pods that are unready for the moment
    ways: tuple[Target, ...] | None = None  # in besides the pods' own addresses; None: to be found, once all is out
    probed_at: datetime | None = None
    probed_depth: Depth = Depth.QUICK  # of the last sweep
    deep_probed_at: datetime | None = None  # the last sweep that was deep, also by an earlier process
    login_refusals: tuple[LoginRefusal, ...] = ()  # while they stand, no login is tried
    failing_since: Mapping[Target, datetime] = field(default_factory=dict)  # of what failed before this pass
    handled_probe: str | None = None
    is_fresh_intent: bool = False  # this pass staged the key, so the CA cannot have heard of it
    was_resumed: bool = False  # an earlier process may have presented proofs of this order
    presenting_since: datetime | None = None
    hidden_by: Finding | None = None  # what a proof was not seen for, once that takes long
    looks: int = 0  # at proofs that spread
    issued: HistoryEntry | None = None  # what this pass issued, or rolled back to
    refused: HistoryEntry | None = None  # the request that this pass could not carry out, or what it had to undo
    stumbles: int = 0  # transient failures of the issuance in a row
    issue_failure: Failure | None = None
    leftovers_due_at: datetime | None = None  # when orders of an earlier secretName are looked for; None: never
    leftover: Staged | None = None  # the first of them that could not be closed yet
    sights: tuple[Sight, ...] | None = None  # objects referred to, at the last look
    look_again_at: datetime | None = None
    roots: Sight | None = None  # the bundle of spec.probe.trust at the last look, while a served chain is not trusted
    look_at_roots_at: datetime | None = None
    close_failure: Failure | None = None  # what keeps the proofs of an order that is over from being removed
    roll_failure: Failure | None = None
    sharers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # other resources, by workload
    rolls_failed: int = 0  # attempts in a row to roll this certificate out
    progress: RollProgress | None = None
    domains: tuple[DomainReport, ...] = ()  # of those that the spec names, as last looked at
    domains_asked: DomainsAsked | None = None  # None: this process has not looked yet
