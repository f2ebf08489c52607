"""What the user wants: a `MailServerTLS` as frozen values, every default filled in.

Only `mailtls.api.reading.spec` makes these from the resource's JSON; nothing else reads `spec`.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from mailtls.api.windows import Window
from mailtls.api.workload import Workload
from mailtls.hostname import dialled
from mailtls.maildomain.facts import MailDomain
from mailtls.pki.certificate import KeyAlgorithm
from mailtls.probe.target import Depth, Port, Route, Thresholds

DNS01: Final = "dns-01"  # RFC 8555 section 8.4
HTTP01: Final = "http-01"  # RFC 8555 section 8.3


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Names one `MailServerTLS`; what the work queue holds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class RotationPolicy(StrEnum):
    """Whether a renewal makes a new key (`ALWAYS`) or keeps the stored one (`NEVER`, for pinned keys)."""

    ALWAYS = "Always"
    NEVER = "Never"


@dataclass(frozen=True, slots=True)
class DataRef:
    """One entry of a Secret or ConfigMap; `namespace` is resolved at parsing and never the user's free choice."""

    kind: str  # "Secret" | "ConfigMap"
    namespace: str
    name: str
    key: str


class PlaceKind(StrEnum):
    """What sort of server or object a step waits for."""

    CA = "CA"
    DNS = "DNS server"
    RESOLVER = "resolvers"
    HTTP01 = "HTTP-01 self-checks"
    PODS = "pods"
    OBJECTS = "objects"


@dataclass(frozen=True, slots=True)
class Place:
    """One thing that a step waits for and that may be dead: a CA's host, a DNS server, or the pods of a namespace."""

    kind: PlaceKind
    name: str = ""

    @property
    def differs_by_resource(self) -> bool:
        """Whether it may answer for one resource while it is dead for another."""
        return self.kind in {PlaceKind.PODS, PlaceKind.HTTP01}

    @property
    def is_narrow(self) -> bool:
        """Whether it is limited even while it answers: a check of domains makes many lookups at once."""
        return self.kind is PlaceKind.RESOLVER

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


class SolverSettings(Protocol):
    """How one solver publishes challenge responses: a frozen, hashable value of a module in `issuance/solvers`.

    What decisions need to know of it is here; all else is known to that module alone.
    """

    @property
    def name(self) -> str:
        """Where it stands in a solver of the spec: `http01`, `dns01.rfc2136`."""

    @property
    def challenge_type(self) -> str:
        """The challenge that it responds to, as the CA calls it."""

    @property
    def self_check(self) -> bool:
        """Whether the response is checked before the CA is asked to validate it."""

    @property
    def delay(self) -> timedelta | None:
        """How long after publication the CA is asked where nobody can check the response; None: it was not set."""

    @property
    def references(self) -> tuple[DataRef, ...]:
        """The entries of Secrets and ConfigMaps that it reads."""

    def place(self, namespace: str) -> Place | None:
        """What publishing and checking wait for, for a resource of `namespace`; None: nothing that may be dead."""

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class SolverSpec:
    """One solver of the spec. `dns_zones` empty matches every name; among matches the longest zone wins."""

    settings: SolverSettings
    dns_zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExternalAccountBinding:
    """Ties the ACME account to one at the CA (RFC 8555 section 7.3.4)."""

    key_id: str
    hmac_key: DataRef


@dataclass(frozen=True, slots=True)
class Acme:
    """The CA to order from and the solvers for its challenges.

    `server` is the directory's https URL (short names are resolved at parsing). `account_key` names a Secret the
    user keeps; None: the operator keeps the key of one account per (server, email) in a Secret. `namespace` is whose
    account it is, and where that Secret is: empty for the installation's, which stays in the operator's namespace.
    `common_name`: requests carry a common name, for private CAs that require one.
    """

    server: str
    email: str | None
    solvers: tuple[SolverSpec, ...]
    profile: str | None = None
    preferred_chain: str | None = None
    ca_bundle: DataRef | None = None
    external_account_binding: ExternalAccountBinding | None = None
    account_key: DataRef | None = None
    namespace: str = ""
    common_name: bool = False


NO_CA: Final = Acme("", None, ())
"""The CA of what is not ordered."""


@dataclass(frozen=True, slots=True)
class PrivateKeyPolicy:
    """How private keys are made; `size` in bits (ECDSA: 256 or 384; RSA: 2048, 3072 or 4096)."""

    algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA
    size: int = 256
    rotation_policy: RotationPolicy = RotationPolicy.ALWAYS


@dataclass(frozen=True, slots=True)
class Renewal:
    """When to renew: by ARI (RFC 9773) where the CA has it, else `before` expiry, else at 2/3 of the lifetime."""

    ari: bool = True
    before: timedelta | None = None


class Bootstrap(StrEnum):
    """What the Secret holds before the first certificate."""

    SELF_SIGNED = "SelfSigned"


class OnFailure(StrEnum):
    """What becomes of a certificate that fails in a pod that was reloaded."""

    ROLLBACK = "Rollback"
    HOLD = "Hold"


class Approval(StrEnum):
    """Whether a person has to approve each certificate after its canary has proven it."""

    NONE = "None"
    REQUIRED = "Required"


@dataclass(frozen=True, slots=True)
class Amount:
    """So many pods, or such a share of a workload's in percent."""

    number: int
    is_share: bool = False

    def of(self, pods: int) -> int:
        """Return how many of so many pods that is: shares are rounded down, and never to none."""
        return max(1, pods * self.number // 100 if self.is_share else self.number)


ONE: Final = Amount(1)


@dataclass(frozen=True, slots=True)
class Rollout:
    """Limits of bringing a certificate into the pods; `timeout` is per pod, for Restart per workload.

    Of each workload so many pods are the `canary`, which prove the certificate before others are touched. At most
    `max_unavailable` are in flight at once. Both are for Reload and Evict. Outside of the `windows`, where there are
    any, no further pod is begun, unless the certificate that is served expires within `urgent_before`.
    """

    timeout: timedelta = timedelta(minutes=10)
    canary: Amount = ONE
    max_unavailable: Amount = ONE
    on_failure: OnFailure = OnFailure.ROLLBACK
    windows: tuple[Window, ...] = ()
    urgent_before: timedelta = timedelta(hours=72)
    approval: Approval = Approval.NONE


@dataclass(frozen=True, slots=True)
class PublicName:
    """The name and ports of the public route: nobody out there sends a PROXY header or XCLIENT."""

    host: str
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """How often, how deep and by which routes the pods are probed, and which roots besides the system's are trusted.

    `deep_interval`, where given, is how often a sweep is deep whatever `depth` says.
    `auth_secret` names a Secret of type kubernetes.io/basic-auth in the resource's namespace, for a trial login.
    `public` is there when `routes` say so. `client_name` is what SMTP and LMTP servers are greeted with; empty: the
    operator's address.
    """

    interval: timedelta = timedelta(hours=1)
    trust: DataRef | None = None
    depth: Depth = Depth.FULL
    auth_secret: str | None = None
    deep_interval: timedelta | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    routes: frozenset[Route] = frozenset({Route.PODS})
    public: PublicName | None = None
    client_name: str = ""


@dataclass(frozen=True, slots=True)
class Desired:
    """One `MailServerTLS`, parsed: the only view of a spec that decisions see.

    `is_external`: somebody else writes the Secret, and nothing is ordered; `acme` then is `NO_CA`.
    """

    key: Key
    uid: str
    generation: int
    created_at: datetime
    dns_names: tuple[str, ...]
    secret_name: str
    acme: Acme
    private_key: PrivateKeyPolicy = field(default_factory=PrivateKeyPolicy)
    renewal: Renewal = field(default_factory=Renewal)
    workloads: tuple[Workload, ...] = ()
    rollout: Rollout = field(default_factory=Rollout)
    probe: Probe = field(default_factory=Probe)
    domains: tuple[MailDomain, ...] = ()
    suspend: bool = False
    is_external: bool = False
    bootstrap: Bootstrap | None = None  # None: there is no Secret before the first certificate
    renew_requested: str | None = None  # the value of the annotation mailtls.dev/renew
    probe_requested: str | None = None  # the value of the annotation mailtls.dev/probe
    rollback_requested: str | None = None  # the value of the annotation mailtls.dev/rollback
    is_paused: bool = False  # by the annotation mailtls.dev/pause-rollout
    approved: str = ""  # the value of the annotation mailtls.dev/approve: how the SHA-256 of a certificate begins

    @property
    def server_name(self) -> str:
        """The name clients dial: SNI and identity of the probe; no client dials a wildcard itself."""
        return dialled(next((name for name in self.dns_names if not name.startswith("*.")), self.dns_names[0]))
