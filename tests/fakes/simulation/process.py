"""One process of the operator in a simulated world: the real objects, put together as in production."""

import copy
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import requests

from fakes.domains import Dns
from fakes.simulation.api import Connection
from fakes.simulation.authority import DIRECTORY
from fakes.simulation.primitives import Event
from fakes.simulation.runtime import FOREVER, Task
from mailtls.api.reading.document import Json
from mailtls.api.spec import Key
from mailtls.api.workload import WorkloadKind
from mailtls.controller.composition import Controller, build
from mailtls.controller.election import Leadership
from mailtls.controller.intake import Seen
from mailtls.controller.parts import Edges, Parts, Work
from mailtls.issuance.acme.transport import Send
from mailtls.issuance.solvers.http01_check import Http01Check
from mailtls.issuance.solvers.http01_server import Tokens
from mailtls.issuance.solvers.registry import SOLVERS
from mailtls.kube.claims import Claims
from mailtls.kube.interface import ApiError, Unreachable
from mailtls.metrics import Metrics
from mailtls.net.addresses import AddressPolicy
from mailtls.net.effects import ReconcileEnded
from mailtls.rollout.coordinator import Coordinator
from mailtls.settings import Settings

if TYPE_CHECKING:
    from fakes.simulation.world import World

OPERATOR: Final = "mailtls-system"
WATCH_TAKES: Final = 0.05  # seconds until a watch tells of a write
ECHO: Final = 0.25  # seconds that the handlers give the answer to a write of ours
RETRY: Final = 2.0


@dataclass
class News:
    """What a watch is about to tell."""

    at: float
    change: str | None
    body: Json


class Process:
    """`longest` is how long one reconcile took at most, in seconds of the simulation."""

    def __init__(self, world: "World", name: str, workers: int) -> None:
        self.world, self.name, self.runtime = world, name, world.runtime
        self.leadership = Leadership(self.runtime.monotonic)
        self.leadership.extend(FOREVER)
        self.tokens, self.seen, self.stopping = Tokens(), Seen(), Event()
        self.longest = 0.0
        self.received: dict[Key, Json] = {}
        self.restored: frozenset[Key] = frozenset()  # which rolled out when it began
        self._news: deque[News] = deque()
        self._watch_task: Task | None = None
        self.connection = Connection(
            world.api, world.before_api, world.step, lambda _verb, answer: self.seen.record(answer)
        )
        self.parts = Parts(
            Settings(
                OPERATOR,
                name,
                max_concurrent_reconciles=workers,
                max_concurrent_rollouts=world.rollouts,
                trust_bundle_file=Path(world.trust.name),
            ),
            self.connection,
            Metrics(),
            self.leadership,
            self.tokens,
            Claims(),
            self.stopping,  # type: ignore[arg-type]
            edges=self._edges(),
        )
        self.controller = Controller(self.parts, self.seen, self._build)

    def start(self) -> None:
        """Begin to work, as soon as it is this process's turn."""
        self.runtime.spawn(self._lead, f"{self.name} leads", self.name)

    def stop_leading(self) -> None:
        """Lose the Lease: nothing may be done any more, and the process ends soon."""
        self.leadership.end()
        self.stopping.set()

    @property
    def is_at_work(self) -> bool:
        """Whether it has begun, and leads."""
        return self._watch_task is not None and self.leadership.is_leading()

    def sweep(self) -> None:
        """List everything, as once an hour."""
        try:
            self.controller.work.begin()
            self.controller.intake.sweep(self.controller.sweeper.list)
            self.controller.sweeper.look_for_open_orders()
        except (ApiError, Unreachable, ReconcileEnded):
            return

    def receive(self, change: str | None, body: Json) -> None:
        """Receive an event of a watch in a moment."""
        if self._watch_task is None:
            return
        delay = self.world.watch_delay()
        if delay is not None:
            delay += ECHO if body.get("kind") == "Secret" else WATCH_TAKES
            self._news.append(News(self.runtime.monotonic() + delay, change, body))
            self.runtime.wake(self._watch_task)

    def shows(self, name: str, token: str) -> bool:
        """Whether the challenge response can be had over HTTP."""
        return self.tokens.answer(name, f"/.well-known/acme-challenge/{token}") is not None

    def _edges(self) -> Edges:
        return Edges(
            clock=self.runtime,
            monotonic=self.runtime.monotonic,
            transport=self._transport,
            registry=SOLVERS.with_provider(self.world.zone.provider),
            http01_check=Check(self.world),
            prober=self.world.servers,
            domains=Dns(()),
        )

    def _transport(
        self, directory_url: str, roots_pem: str = "", *, policy: AddressPolicy | None = None, pooled: int = 1
    ) -> Send:
        assert directory_url == DIRECTORY

        def send(method: str, url: str, headers: Mapping[str, str], data: str | None = None) -> requests.Response:
            answer = self.world.ca.exchange(method, url, headers, data)
            self.world.step()
            return answer

        return send

    def _build(self, parts: Parts) -> Work:
        self.coordinator = parts.coordinator or Coordinator()
        work = build(parts)
        return replace(work, reconcile=lambda key: self._timed(work.reconcile, key))

    def _timed(self, reconcile: Callable[[Key], float | None], key: Key) -> float | None:
        began, skipped = self.runtime.monotonic(), self.runtime.skipped
        try:
            return reconcile(key)
        finally:
            took = self.runtime.monotonic() - began - (self.runtime.skipped - skipped)
            self.longest = max(self.longest, took)

    def _lead(self) -> None:
        """Begin as the process does, then sweep now and then."""
        controller = self.controller
        while True:
            try:
                controller.work.begin()
                resources = controller.sweeper.list()
                break
            except (ApiError, Unreachable, ReconcileEnded):
                self.runtime.sleep(RETRY)
        controller.restore(resources)
        self.restored = frozenset(self.coordinator._turns._holders)
        with suppress(ApiError, Unreachable):
            controller.sweeper.look_for_open_orders()
        controller.queue.start()
        self._watch_task = self.runtime.spawn(self._watch, f"{self.name} watches", self.name)
        for body in copy.deepcopy(list(self.world.api.objects.values())):
            self.receive(None, body)
        controller.intake.secrets_unseen()
        controller.intake.external_secrets_unseen()
        controller.sweeper.run(self.stopping, controller.work.begin)  # type: ignore[arg-type]

    def _watch(self) -> None:
        while True:
            now = self.runtime.monotonic()
            if self._news and self._news[0].at <= now:
                self._take_in(self._news.popleft())
            else:
                self.runtime.wait(self._news[0].at if self._news else FOREVER)

    def _take_in(self, news: News) -> None:
        intake, body = self.controller.intake, news.body
        match body.get("kind"):
            case "MailServerTLS":
                intake.resource(news.change, body)
                self.received[Key(body["metadata"]["namespace"], body["metadata"]["name"])] = body
            case "Secret" if news.change:  # its watches do not list
                if body.get("type") == "kubernetes.io/tls" and body["metadata"].get("labels"):
                    intake.secret(news.change, {"metadata": body["metadata"]})  # the watch receives no more
                intake.external_secret(body["metadata"]["namespace"], body["metadata"]["name"])
            case "StatefulSet":
                intake.workload(news.change, WorkloadKind.STATEFUL_SET, body)


class Check(Http01Check):
    """Sees a challenge response over HTTP some time after it was published."""

    def __init__(self, world: "World") -> None:
        super().__init__()
        self._world = world

    def fault(self, host: str, token: str, _key_authorization: str) -> str | None:
        """Say what is wrong."""
        self._world.step()
        return None if self._world.shows("http-01", host, token) else "the answer is 404"
