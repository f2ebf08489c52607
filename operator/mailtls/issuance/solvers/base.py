"""What a solver is, and what a module of this package has to offer to be one (RFC 8555 section 8).

A solver publishes challenge responses where the CA looks for them, looks itself first, and removes them afterwards.
A provider is one module here with a `Provider`, an entry in `registry`, a schema in the CRD at the provider's name, and
a page in docs/. Providers of DNS-01 only write TXT records: `dns01.Dns01Solver` does all else for them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Generic, Protocol, TypeVar

from mailtls.api.reading.document import Node
from mailtls.api.spec import DataRef, SolverSettings
from mailtls.issuance.solvers.http01_check import Http01Check
from mailtls.issuance.solvers.http01_server import Tokens
from mailtls.issuance.solvers.propagation import Names
from mailtls.net.addresses import AddressPolicy
from mailtls.reasons.reason import Finding, Reason


@dataclass(frozen=True, slots=True)
class ChallengeResponse:
    """What the CA looks for to validate `name`, which stands here without `*.` (RFC 8555 section 8.1).

    HTTP-01 serves `key_authorization` for `token`; DNS-01 publishes `dns_value` as a TXT record.
    """

    name: str
    token: str
    key_authorization: str = field(repr=False)
    dns_value: str


@dataclass(frozen=True, slots=True)
class Visibility:
    """Whether the CA can be asked to validate; true in a condition, or `hidden_by` says what stands in between."""

    hidden_by: Finding | None = None

    def __bool__(self) -> bool:
        return self.hidden_by is None


VISIBLE: Final = Visibility()


class Outcome(StrEnum):
    """How a part of a rehearsal ended; `UNKNOWN`: it could not be tried."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Remark:
    """One sentence about a rehearsal; `reason` where it is doubtful or bad."""

    outcome: Outcome
    message: str
    reason: Reason = Reason.CHALLENGE_FAILED


@dataclass(frozen=True, slots=True)
class Stage:
    """What a rehearsal may use: `addresses` looks a host up, and says why where it cannot; `reach` connects to a port.

    `reach` returns what went wrong, empty when the port answers. `may_write` allows records that are removed again.
    """

    addresses: Callable[[str], tuple[tuple[str, ...], str]]
    reach: Callable[[str, int], str]
    may_write: bool = False


class Solver(Protocol):
    """Publishes challenge responses in one way; thread-safe. All methods raise `ChallengeProblem`."""

    def present(self, response: ChallengeResponse) -> None:
        """Publish; doing it again changes nothing."""

    def clean_up(self, response: ChallengeResponse) -> None:
        """Remove this response, and no other; success when it is gone already."""

    def is_visible(self, response: ChallengeResponse, waited: timedelta) -> Visibility:
        """Look as a CA would; `waited` is how long ago it was published, which decides where nobody can look."""

    def rehearse(self, name: str, stage: Stage) -> Iterator[Remark]:
        """Try what can be tried for a name before anything is ordered; nothing is left behind."""


class ChallengeProblem(Exception):
    """A challenge response could not be published, looked at or removed; `finding` says why and what to do.

    `transient`: a server was away or overloaded, so the open order lives on and the same call may succeed later.
    Otherwise the settings are wrong: the order lives on too, but pauses grow until a person corrects them. Nobody but
    the operator's own backoff decides when to try again, which `retry_at` and `needs_person` say in the words of
    `AcmeProblem`.
    """

    retry_at: Final[datetime | None] = None
    needs_person: Final = False

    def __init__(self, finding: Finding, transient: bool) -> None:
        super().__init__(finding.message)
        self.finding, self.transient = finding, transient


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What solvers are built into, the same for all. Nothing is connected to that `policy` refuses; None: no limits.

    `resolvers` are asked for a record when packets to the zone's own servers vanish; `names` finds those servers, None:
    by this machine's resolvers.
    """

    tokens: Tokens = field(default_factory=Tokens)
    http_check: Http01Check = field(default_factory=Http01Check)
    policy: AddressPolicy | None = None
    resolvers: tuple[str, ...] = ()
    names: Names | None = None


Secrets = Mapping[DataRef, bytes]
"""The contents of what the settings of a solver refer to."""
S = TypeVar("S", bound=SolverSettings)


@dataclass(frozen=True, slots=True)
class Provider(Generic[S]):
    """One entry of the registry: a way to solve challenges, under the name that it has in a solver of the spec.

    `name` is also the path of its schema in the CRD; `page` is the file in docs/ that explains it. `read` makes the
    settings from `solvers[]` of a namespace and raises `InvalidSpec`; `build` makes the solver, and raises
    `ChallengeProblem` where a Secret does not hold what it should.
    """

    name: str
    page: str
    read: Callable[[Node, str], S]
    build: Callable[[S, Secrets, Surroundings], Solver]
