"""A simulated world: API server, CA, pods and one process of the operator; what goes wrong, and what users do."""

import contextvars
import random
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Sequence
from tempfile import NamedTemporaryFile
from typing import Any, Final

import requests

from fakes.simulation.api import ApiServer
from fakes.simulation.authority import Ca
from fakes.simulation.plan import Disturbance, Fault, Wanted
from fakes.simulation.process import Process
from fakes.simulation.runtime import Runtime, Task
from fakes.simulation.servers import Server, Servers
from fakes.simulation.zone import DnsZone, failure
from mailtls.api.reading.document import Json
from mailtls.api.resource import APPROVE, GROUP, PAUSE_ROLLOUT
from mailtls.kube.interface import ApiError, Conflict, Unreachable
from mailtls.net.effects import before_effect
from mailtls.rollout.reload import leaf_sha256

RESTART_TAKES: Final = 3.0
WRITES: Final = frozenset({"create", "replace", "apply", "merge", "report", "delete"})


class World:
    """`plan` is what happens to it; `seed` decides who of those that can run runs next, 0 being the simplest way."""

    def __init__(
        self,
        wanted: Sequence[Wanted],
        plan: Sequence[Disturbance] = (),
        *,
        workers: int = 2,
        rollouts: int | None = None,
        seed: int = 0,
    ) -> None:
        self.runtime = Runtime(self._choose)
        self.wanted, self.plan, self.workers, self.rollouts = tuple(wanted), deque(plan), workers, rollouts
        self._draw = random.Random(seed) if seed else None
        self.api = ApiServer(self.runtime)
        self.ca = Ca(self.runtime, self.shows, self._before_ca)
        self.servers = Servers(self.runtime, self.api, self.ca.refused)
        self.trust = NamedTemporaryFile("w", suffix=".pem")  # noqa: SIM115 - it lives as long as the world
        self.trust.write(self.ca.root_pem)
        self.trust.flush()
        self.zone = DnsZone(self.runtime, self._before_dns)
        self.faults: deque[Fault] = deque()
        self.steps = self._since = 0
        self.log: list[str] = []
        self.unfit: set[str] = set()  # leaves of certificates for other names, that somebody else has written
        self.disturbed_at = 0.0
        self._processes = 0
        self.process: Process | None = None
        self.retired: list[Process] = []
        self.api.watches.append(lambda change, body: self.process.receive(change, body) if self.process else None)

    def begin(self) -> None:
        """Make all that users make, and start the operator."""
        for which, each in enumerate(self.wanted):
            self.supply(which)
            for name, replicas, _ in each.workloads:
                self.servers.deploy(each.namespace, name, f"{each.name}-tls", replicas, each.daemons_of(name))
            self.api.put(each.path, each.body())
        self.start_process()

    def start_process(self) -> None:
        """Start the operator with no memory."""
        self._processes += 1
        if self.process is not None:
            self.retired.append(self.process)
        self.process = Process(self, f"operator-{self._processes}", self.workers)
        self.process.start()

    # what happens at each effect

    def owner_of(self, server: Server) -> Wanted:
        """Return the resource whose certificate a server has."""
        return next(
            each for each in self.wanted if server.secret == f"{each.name}-tls" and server.namespace == each.namespace
        )

    def step(self) -> None:
        """Let others run, and let happen what is due; each effect of the operator calls this before and after."""
        self.runtime.pause()
        self.steps += 1
        self._since += 1
        while self.plan and self.plan[0].after <= self._since:
            self.disturb()

    def disturb(self) -> None:
        """Let the next thing of the plan happen, as nobody's doing that runs now."""
        due = self.plan.popleft()
        self._since, self.disturbed_at = 0, self.runtime.monotonic()
        self.log.append(f"{self.runtime.monotonic():.2f} step {self.steps}: {due.name}")
        self.api.actor = "user"
        try:
            contextvars.Context().run(due.act, self)
        finally:
            self.api.actor = None

    def before_api(self, verb: str, path: str) -> Exception | None:
        """Fail a request, or lose its answer."""
        self.step()
        if verb == "exec":
            return self._fault_of("exec", path)
        return self._fault_of("api", path, is_write=verb in WRITES)

    def _fault_of(self, channel: str, path: str, *, is_write: bool = True) -> Exception | None:
        fault = self._take(channel, path, is_write=is_write)
        match fault.kind if fault else None:
            case "conflict":
                raise Conflict(409, "Conflict", path)
            case "server error":
                raise ApiError(500, "InternalError", "simulated") if channel == "exec" else Unreachable("simulated 500")
            case "unreachable":
                raise Unreachable("simulated time-out")
            case "forbidden":
                raise ApiError(403, "Forbidden", "simulated")
            case "slow":
                self.runtime.sleep(3.0)
            case "hangs":
                self.runtime.sleep(30.0)
                raise Unreachable("simulated connection that hangs")
            case "lost answer":
                return Unreachable("simulated loss of an answer")
        return None

    def _take(self, channel: str, path: str, *, is_write: bool = True) -> Fault | None:
        for fault in self.faults:
            is_fit = is_write or fault.kind not in {"conflict", "lost answer"}
            if is_fit and fault.channel == channel and fault.where in path:
                if not fault.lasts:
                    self.faults.remove(fault)
                self.log.append(f"{self.runtime.monotonic():.2f} fault: {channel} {fault.kind} at {path}")
                return fault
        return None

    def _before_ca(self, kind: str, about: str) -> Exception | tuple[int, str] | None:
        self.step()
        before_effect()  # as the connection does, right before it sends
        fault = self._take("ca", f"{kind} {about}")
        match fault.kind if fault else None:
            case "server error":
                return 500, "serverInternal"
            case "rate limited":
                return 429, "rateLimited"
            case "bad nonce":
                return 400, "badNonce"
            case "unreachable":
                raise requests.ConnectionError("simulated")
            case "slow":
                self.runtime.sleep(3.0)
            case "lost answer":
                return requests.ReadTimeout("simulated loss of an answer")
            case "another root":
                self.ca.signs_for_another_root = True
        return None

    def _before_dns(self, request: str) -> None:
        self.step()
        fault = self._take("dns", request)
        if fault is not None and fault.kind == "slow":
            self.runtime.sleep(3.0)
        elif fault is not None:
            raise failure(fault.kind)

    def watch_delay(self) -> float | None:
        """How late the watch tells of what was just written; None: never."""
        fault = self._take("watch", "")
        match fault.kind if fault else None:
            case "lost":
                return None
            case "late":
                return 20.0
        return 0.0

    def shows(self, kind: str, name: str, content: str) -> bool:
        """Whether a challenge response can be seen: for a token over HTTP, or a TXT record."""
        if kind == "dns-01":
            return self.zone.shows(f"_acme-challenge.{name}", content)
        return self.process is not None and self.process.shows(name, content)

    def _choose(self, ready: list[Task]) -> Task:
        current = self.runtime.current
        if self._draw is None:
            return current if current in ready else ready[0]
        if current in ready and self._draw.random() < 0.5:
            return current
        return self._draw.choice(ready)

    # what users and accidents do

    def arm(self, fault: Fault) -> None:
        """Let a fault happen at the next request that it fits."""
        self.faults.append(fault)

    def crash(self) -> None:
        """End the process where it is, and start another one a little later."""
        old = self.process
        if old is None or old.name not in {task.process for task in self.runtime.tasks}:
            return
        self.process = None
        self.retired.append(old)
        self.runtime.spawn(self._restart, "restarts the operator", "kube")
        self.runtime.kill(old.name)

    def _restart(self) -> None:
        self.runtime.sleep(RESTART_TAKES)
        if self.process is None:
            self.start_process()

    def lose_leadership(self) -> None:
        """Let the process lose its Lease; it ends some seconds later, and another one leads."""
        old = self.process
        if old is None:
            return
        old.stop_leading()

        def end() -> None:
            self.runtime.sleep(5.0)
            if self.process is old:
                self.crash()

        self.runtime.spawn(end, "ends the old leader", "kube")

    def spec(self, which: int, **changes: Any) -> None:
        """Change the spec of a resource."""
        path = self.wanted[which % len(self.wanted)].path
        if path in self.api.objects:
            self.api.edit(path, lambda body: body["spec"].update(changes))

    def request(self, which: int, name: str) -> None:
        """Ask for something by an annotation."""
        self._annotate(which, f"{GROUP}/{name}", str(self.steps))

    def pause(self, which: int) -> None:
        """Hold the rollouts of a resource back."""
        self._annotate(which, PAUSE_ROLLOUT, "true")

    def resume(self, which: int) -> None:
        """Let them go on."""
        self._annotate(which, PAUSE_ROLLOUT, None)

    def approve(self, which: int) -> None:
        """Approve the certificate that is stored."""
        stored = self.api.objects.get(self.wanted[which % len(self.wanted)].secret_path)
        if stored is not None:
            chain = b64decode(stored["data"]["tls.crt"]).decode()
            self._annotate(which, APPROVE, leaf_sha256(chain))

    def _annotate(self, which: int, annotation: str, value: str | None) -> None:
        path = self.wanted[which % len(self.wanted)].path
        if path in self.api.objects:
            self.api.edit(path, lambda body: _set(body["metadata"].setdefault("annotations", {}), annotation, value))

    def rename(self, which: int, extra: str) -> None:
        """Ask for another set of names."""
        self.spec(which, dnsNames=self.wanted[which % len(self.wanted)].names(extra))

    def delete(self, which: int) -> None:
        """Delete a resource."""
        wanted = self.wanted[which % len(self.wanted)]
        self.api.remove(wanted.path)

    def create(self, which: int) -> None:
        """Make a resource again that was deleted."""
        wanted = self.wanted[which % len(self.wanted)]
        if wanted.path not in self.api.objects:
            self.api.put(wanted.path, wanted.body())

    def kill_pod(self, which: int) -> None:
        """Kill a pod."""
        pods = sorted(self.servers.by_pod)
        if pods:
            self.servers.kill(*pods[which % len(pods)])

    def slow_pod(self, which: int, seconds: float) -> None:
        """Let a server take so long from its reload to the new certificate."""
        pods = sorted(self.servers.by_pod)
        if pods:
            daemons = self.servers.by_pod[pods[which % len(pods)]].daemons
            daemons[which % len(daemons)].takes = seconds

    def scale(self, which: int, by: int) -> None:
        """Add a pod to a workload, or take one away."""
        self.servers.scale(*self._workload(which), by)

    def keep_template(self, which: int) -> None:
        """Have a GitOps tool keep the pod templates that are restarted as they are."""
        wanted = self.wanted[which % len(self.wanted)]
        for name, _, strategy in wanted.workloads:
            if strategy == "Restart":
                self.servers.keep(wanted.namespace, name)

    def lose_node(self, which: int, seconds: float) -> None:
        """Let a node be NotReady for so long."""
        self.servers.lose_node(which, seconds)

    def take_workload_away(self, which: int, seconds: float) -> None:
        """Delete a workload, and make it again so much later."""
        self.servers.take_away(*self._workload(which), seconds)

    def _workload(self, which: int) -> tuple[str, str]:
        wanted = self.wanted[which % len(self.wanted)]
        return wanted.namespace, wanted.workloads[which // len(self.wanted) % len(wanted.workloads)][0]

    def restart_rollouts(self, wanted: Wanted) -> None:
        """Run `kubectl rollout restart` for what is restarted of a resource, as the message says."""
        for name, _, strategy in wanted.workloads:
            if strategy == "Restart":
                at = {"kubectl.kubernetes.io/restartedAt": str(self.runtime.now())}
                self.servers.annotate((wanted.namespace, name), at)

    def sleep_long(self, seconds: float = 80 * 24 * 3600.0) -> None:
        """Let the machines sleep, so that certificates are about to expire when they wake."""
        self.runtime.skip(seconds)

    def sweep(self) -> None:
        """List everything, as the operator does once an hour."""
        process = self.process
        if process is not None and process.is_at_work:
            self.runtime.spawn(process.sweep, "sweeps", process.name)

    def spoil_secret(self, which: int) -> None:
        """Let somebody write nonsense into a serving Secret."""
        path = self.wanted[which % len(self.wanted)].secret_path
        if path in self.api.objects:
            self.api.edit(path, lambda body: body["data"].update({"tls.crt": "bm9uc2Vuc2U="}))

    def supply(self, which: int, flaw: str = "") -> None:
        """Have whoever writes the Secret of a resource, where it is not the operator, write another certificate."""
        wanted = self.wanted[which % len(self.wanted)]
        if not wanted.is_external:
            return
        names = self.api.objects.get(wanted.path, wanted.body())["spec"]["dnsNames"]
        chain, key = self.ca.supply(("other.test",) if flaw == "names" else tuple(names), is_refused=flaw == "root")
        if flaw == "names":
            self.unfit.add(str(leaf_sha256(chain)))
        data = {name: b64encode(pem.encode()).decode() for name, pem in (("tls.crt", chain), ("tls.key", key))}
        if wanted.secret_path in self.api.objects:
            self.api.edit(wanted.secret_path, lambda body: body.update(data=data))
        else:
            self.api.put(wanted.secret_path, {"type": "kubernetes.io/tls", "metadata": {}, "data": data})

    def delete_secret(self, which: int) -> None:
        """Let somebody delete a serving Secret."""
        self.api.remove(self.wanted[which % len(self.wanted)].secret_path)


def _set(annotations: Json, name: str, value: str | None) -> None:
    annotations.pop(name, None)
    if value is not None:
        annotations[name] = value
