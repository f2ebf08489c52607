"""Reconciles over the pods of a resource as the reconciler makes them, with servers that a test describes."""

from dataclasses import replace
from threading import Event

from builders import kube
from builders.contexts import wanting
from builders.pairs import self_signed
from builders.stories import DAY, desired
from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailtls.api.reading.document import Json
from mailtls.api.reading.spec import Defaults
from mailtls.api.spec import Desired, PrivateKeyPolicy
from mailtls.api.status import Attempts, Schedule
from mailtls.api.workload import Daemon, UpdateStrategy, Workload, WorkloadKind
from mailtls.controller.observe import Observer
from mailtls.issuance.acme.accounts import Accounts
from mailtls.issuance.certificates import new_key
from mailtls.issuance.restoring import Restoring
from mailtls.issuance.solvers.registry import SOLVERS
from mailtls.kube.claims import Claims
from mailtls.kube.previous import PreviousPairs
from mailtls.kube.references import References
from mailtls.kube.secrets import Secrets
from mailtls.kube.snapshot import ServingSecret
from mailtls.metrics import Metrics
from mailtls.probe.prober import SupportsProbe
from mailtls.probe.target import Endpoint, Port, TlsMode, TlsPolicy
from mailtls.rollout.execute import Rolling
from mailtls.stage import Executor, next_decision
from mailtls.stages import STAGES
from mailtls.step import Rest
from mailtls.verification.execute import Probing

PORT = Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
POSTFIX = Workload(WorkloadKind.STATEFUL_SET, "postfix", UpdateStrategy.NONE, (Daemon("postfix", (PORT,)),))
WANTED = desired(workloads=(POSTFIX,))
PODS = "/api/v1/namespaces/mail/pods"
FIRST, SECOND = "postfix-0", "postfix-1"


class Operator:
    """Goes from pass to pass over the pods that a test names; `servers` answer for them."""

    def __init__(self, clock: WallClock, servers: SupportsProbe, wanted: Desired = WANTED) -> None:
        self.cluster, self.clock, self.wanted = FakeCluster(), clock, wanted
        self.attempts: Attempts | None = None  # what is remembered of issuances that failed
        key, secrets = new_key(PrivateKeyPolicy()), Secrets(self.cluster)
        self.certificate = self_signed(key)
        secrets.keep_copy(wanted, secrets.store(wanted, self.certificate, key, ServingSecret(exists=False)), None)
        self.cluster.create("/apis/apps/v1/namespaces/mail/statefulsets", kube.workload())
        accounts = Accounts(self.cluster, "mailtls-system", clock, lambda *_: None)
        references = References(self.cluster, clock)
        probing = Probing(self.cluster, servers, clock, Metrics(), accounts.secrets.read, references)
        rolling = Rolling(self.cluster, probing, clock, Metrics(), Event())
        pairs = PreviousPairs(self.cluster, secrets.seal)
        restoring = Restoring(pairs, secrets, clock, Metrics(), accounts.secrets.read)
        self.executors: dict[type[Executor], Executor] = {Probing: probing, Rolling: rolling, Restoring: restoring}
        self.observer = Observer(self.cluster, secrets, Claims(), clock, Defaults(SOLVERS))

    def look(
        self, *, unready: str = "", run: str = "1", pods: tuple[str, ...] = (FIRST, SECOND), ip: str = "198.51.100.7"
    ) -> Rest:
        """Make one pass over these pods; return how it rests. `run` is the second one's, `ip` that of all."""
        for name in (FIRST, SECOND):
            self.cluster.delete(f"{PODS}/{name}")
        for name in pods:
            self.cluster.create(PODS, _pod(name, is_ready=name != unready, run=run if name == SECOND else "1", ip=ip))
        seen = self.observer.observe(self.wanted, {"metadata": {"generation": 1}})
        drawn = Schedule(self.certificate.sha256, self.clock.now() + 50 * DAY)
        seen = seen.with_issuance(schedule=drawn, renewal_info_due_at=self.clock.now() + DAY)
        seen = seen.with_snapshot(status=replace(seen.snapshot.status, attempts=self.attempts))
        while not isinstance(decided := next_decision(STAGES, seen, self.clock.now()), Rest):
            seen = decided.stage.execute(self.executors[decided.stage.by], seen, decided.step)
        self.observer.remember(wanting(self.wanted, seen))
        self.seen = seen
        return decided

    def knows(self, pod: str) -> Endpoint | None:
        """What is known of a pod now."""
        return next((each for each in self.seen.verification.endpoints if each.target.pod == pod), None)


def _pod(name: str, *, is_ready: bool, run: str, ip: str) -> Json:
    made = kube.pod(name, ready=str(is_ready), labels={"app": "postfix"})
    made["status"]["podIPs"] = [{"ip": ip}]
    made["status"]["containerStatuses"] = [{"name": "postfix", "containerID": f"containerd://{name}-{run}"}]
    return made
