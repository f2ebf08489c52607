"""kopf's part: it watches, authenticates and reconnects; each event goes straight to the intake."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import kopf

from mailtls.intake import Intake
from mailtls.model.spec import WorkloadKind
from mailtls.world.cluster.resource import GROUP, OURS, PLURAL, VERSION
from mailtls.world.cluster.workloads import PLURALS

ECHO_SECONDS: Final = 0.25
SERVING: Final = "type=kubernetes.io/tls"  # no pod mounts the staged and the previous Secrets, which are Opaque


def register(
    intake: Intake, load: Callable[[], Any], kinds: Iterable[WorkloadKind], *, scan: bool
) -> kopf.OperatorRegistry:
    """Return a registry that feeds `intake`; `load` gives the official client's configuration.

    `kinds` are the workloads to watch. `scan` False is for an operator that may not see CustomResourceDefinitions,
    having rights in namespaces only.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        tune(settings, scan=scan)

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return credentials(load())

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def resource(event: kopf.RawEvent, **_: Any) -> None:
        intake.resource(event["type"], dict(event["object"]))

    @kopf.on.event("", "v1", "secrets", registry=registry)
    async def secret(event: kopf.RawEvent, **_: Any) -> None:
        found = dict(event["object"])
        if not intake.is_own_write(found):
            await asyncio.sleep(ECHO_SECONDS)  # a watch may be faster than the answer to the write that it tells of
        intake.secret(event["type"], found)

    for kind in kinds:
        _watch_workloads(registry, intake, kind)
    return registry


def _watch_workloads(registry: kopf.OperatorRegistry, intake: Intake, kind: WorkloadKind) -> None:
    """Watch the workloads and not their pods: there are far fewer, and their status tells when a pod changes."""

    @kopf.on.event("apps", "v1", PLURALS[kind], registry=registry)
    async def workload(event: kopf.RawEvent, **_: Any) -> None:
        intake.workload(event["type"], kind, dict(event["object"]))


class NoHistory(kopf.DiffBaseStorage):
    """Compares nothing with what was before: our handlers take events as they are, and copying each is not free."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Return what is worth comparing: nothing."""
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        """Return what was there before: nothing is known."""
        return None

    def store(self, **_: Any) -> None:
        """Keep nothing."""


def tune(settings: kopf.OperatorSettings, *, scan: bool) -> None:
    """Set what kopf's defaults leave too slow, too eager, or to chance."""
    settings.peering.standalone = True  # a Lease elects; peering pauses both of two equal replicas
    settings.scanning.disabled = not scan
    settings.persistence.diffbase_storage = NoHistory()
    settings.posting.enabled = False  # Events tell of transitions, and are our own
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 70
    settings.watching.reconnect_backoff = 2  # the default makes ten lists a second of a lasting 410
    settings.watching.chunk_size = 500
    settings.watching.label_selectors["secrets"] = OURS
    settings.watching.field_selectors["secrets"] = SERVING  # the others are our journal: three events an issuance
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.enforce_retry_after = True
    settings.queueing.worker_limit = None
    settings.queueing.idle_timeout = 1  # memory of a listing goes back soon
    settings.queueing.exit_timeout = 0.5
    settings.queueing.error_delays = (1, 2, 3, 5, 8, 13, 21, 34, 55)
    settings.process.ultimate_exiting_timeout = None  # the process ends by its own clock


def credentials(configuration: Any) -> kopf.ConnectionInfo:
    """Say in kopf's words what the official client found."""
    proof = next((each["value"] for each in configuration.auth_settings().values()), None) or ""
    scheme, _, token = proof.strip().partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme if token else None,
        token=token or proof.strip() or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )
