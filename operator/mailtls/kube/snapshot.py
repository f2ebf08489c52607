"""What was read of the cluster for one resource, in one reconcile: its status, its Secrets, its workloads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mailtls.api.spec import Key
from mailtls.api.status import Status
from mailtls.kube.workload import WorkloadState
from mailtls.pki.certificate import Certificate, KeyAlgorithm, KeyMaterial
from mailtls.reasons.reason import Finding


@dataclass(frozen=True, slots=True)
class Refused:
    """A certificate that was rolled back because it failed in a pod, and `why`; `times` in a row that one was."""

    sha256: str
    serial_number: str
    why: str
    at: datetime
    times: int = 1


@dataclass(frozen=True, slots=True)
class Hold:
    """What a rollback asks for: no other certificate before `until`, as long as the spec is of this generation.

    `refused` is what was rolled back, where nobody had requested that.
    """

    until: datetime
    generation: int
    refused: Refused | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Who wrote a Secret that is not ours, in words that go into a sentence, and where to look when it is at fault."""

    words: str = "somebody else"
    advice: str = (
        "Find out who writes the Secret: kubectl get secret NAME -o jsonpath='{.metadata.managedFields[*].manager}'."
    )


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
    stored the pair; `is_of_the_order` where it is the one that is open. `is_verified`, of the pair before: every pod
    had proven it when it served.

    Of a Secret that is somebody else's by the spec, `source` says whose, and `is_vouched_for` that a person has named
    on it the very certificate that is in it, and `is_immutable` that kubelets never read it again.
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
    is_requested: bool = False
    adopted: str | None = None
    name: str = ""
    uid: str | None = None
    writer: str | None = None
    order_seal: str | None = None
    is_of_the_order: bool = False
    source: Source = Source()
    is_vouched_for: bool = False
    is_immutable: bool = False
    is_verified: bool = False

    @property
    def is_placeholder(self) -> bool:
        """Whether it holds the self-signed pair that we made so that servers can start: no CA's, and nobody else's."""
        is_self_signed = self.certificate is not None and self.certificate.self_signed
        return is_self_signed and self.is_ours and self.acme_server is None and self.adopted is None


@dataclass(frozen=True, slots=True)
class Staged:
    """The next key, saved before it is used, with the journal of the order it is for.

    `is_open` until the order is over and its challenges are removed; `order_url` None: an order was meant, and whether
    the CA received it is not known. `replaces_sha256` is the leaf that served when it was staged, None where none did.
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
class ObjectVersion:
    """Which version of an object that the resource refers to was read; empty where there was none."""

    path: str
    version: str
    changed_at: datetime | None = None

    def changed_since(self, at: datetime) -> bool:
        """Whether it was changed at that time or later.

        Kubernetes writes whole seconds: a change within that very second may have come after it, so it counts.
        """
        return self.changed_at is not None and self.changed_at >= at.replace(microsecond=0)


def _absent() -> ServingSecret:
    return ServingSecret(exists=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the API server said in this reconcile, and what our own writes made of it since.

    `status` is what is to be reported: as it was read, and with what became known since. `reported` is what the API
    server has. `copy` is our own copy of the pair that serves, to put the Secret right from. `holder` is the resource
    that the Secret belongs to, `sharers` are other resources by the workload that they name as well. `workloads` is
    None until they are read.
    """

    resource: dict[str, Any] = field(default_factory=dict, repr=False)
    status: Status = field(default_factory=Status)
    reported: Status = field(default_factory=Status)
    secret: ServingSecret = field(default_factory=_absent)
    staged: Staged | None = None
    copy: ServingSecret | None = None
    holder: Key | None = None
    sharers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    workloads: tuple[WorkloadState, ...] | None = None

    @property
    def is_reported(self) -> bool:
        """Whether the API server has the status as it is known here."""
        return self.status == self.reported
