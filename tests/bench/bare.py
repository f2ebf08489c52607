"""The same certificates without Kubernetes: the operator's own ACME and DNS adapters in the operator's own queue.

What Kubernetes costs is the difference; the ratio holds on fast and slow machines alike.
"""

from __future__ import annotations

import base64
import math
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.stage import TSIG_SECRET, solvers
from fakes.cluster import FakeCluster
from mailtls.api.solvers import challenge_type_of
from mailtls.api.spec import PrivateKeyPolicy
from mailtls.controller.composition import Composition, compose, defaults_of
from mailtls.controller.election import Leadership
from mailtls.controller.parts import Parts
from mailtls.controller.queue import WorkQueue
from mailtls.issuance.certificates import new_key, signing_request
from mailtls.issuance.order import (
    Action,
    Download,
    Fail,
    Finalize,
    PollAuthorization,
    PollOrder,
    Present,
    RequestValidation,
    next_action,
)
from mailtls.issuance.solvers.base import ChallengeResponse
from mailtls.issuance.solvers.http01_server import Tokens
from mailtls.kube.claims import Claims
from mailtls.metrics import Metrics
from mailtls.net.effects import SystemClock
from mailtls.settings import Settings
from testbed.console import Trouble

if TYPE_CHECKING:
    from bench.stage import Stage
    from mailtls.api.spec import Acme
    from mailtls.issuance.acme.account import Account
    from mailtls.issuance.order_state import OrderState
    from mailtls.issuance.solvers.registry import Solvers

_WITHIN = 90.0


@dataclass(slots=True)
class Journey:
    """One certificate on its way."""

    name: str
    csr_der: bytes = b""
    order: OrderState | None = None
    presented: frozenset[str] = field(default_factory=frozenset)


class BareIssuing:
    """Issues certificates, and keeps none."""

    def __init__(self, account: Account, solvers: Solvers, acme: Acme, journeys: list[Journey]) -> None:
        """Nothing is asked of anybody yet."""
        self._account, self._solvers, self._acme, self._journeys = account, solvers, acme, journeys
        self._clock, self._left, self._done = SystemClock(), len(journeys), threading.Event()
        self._lock = threading.Lock()
        self.failures: list[str] = []

    def run(self) -> float:
        """Issue them all and give the certificates per second."""
        queue = WorkQueue[int](self._step)
        queue.start()
        begun = time.monotonic()
        for number in range(len(self._journeys)):
            queue.add(number)
        finished = self._done.wait(_WITHIN)
        seconds = time.monotonic() - begun
        queue.stop(1.0)
        if not finished or self.failures:
            message = f"the certificates without Kubernetes did not come: {self.failures[:1]}"
            raise Trouble(message)
        return len(self._journeys) / seconds

    def _step(self, number: int) -> float | None:
        """Go as far as the CA lets go on; what it has us wait for is the queue's."""
        journey = self._journeys[number]
        if journey.order is None:
            journey.csr_der = signing_request(new_key(PrivateKeyPolicy()), (journey.name,))
            journey.order = self._account.load(self._account.new_order((journey.name,)))
        while True:
            action = next_action(
                journey.order, journey.presented, challenge_type_of(self._acme), self._clock.now(), (journey.name,)
            )
            not_before = getattr(action, "not_before", None)
            if not_before is not None and not_before > self._clock.now():
                return float((not_before - self._clock.now()).total_seconds())
            if isinstance(action, Download | Fail):
                self._end(journey, action)
                return None
            self._act(journey, action)

    def _act(self, journey: Journey, action: Action) -> None:
        order = journey.order
        assert order is not None
        match action:
            case Present():
                self._present(journey, action)
            case RequestValidation():
                journey.order = self._account.request_validation(order, action.challenge)
            case PollAuthorization():
                journey.order = self._account.poll_authorization(order, action.url)
            case Finalize():
                journey.order = self._account.finalize(order, journey.csr_der)
            case PollOrder():
                journey.order = self._account.poll(order)

    def _present(self, journey: Journey, action: Present) -> None:
        settings = self._acme.solvers[0].settings
        for each in action.challenges:
            token = each.challenge.token
            authorization, value = self._account.key_authorization(token), self._account.dns01_value(token)
            response = ChallengeResponse(journey.name, token, authorization, value)
            self._solvers.present(settings, response)
            while not self._solvers.is_visible(settings, response):
                time.sleep(0.05)
            journey.presented |= {each.challenge.url}

    def _end(self, journey: Journey, action: Download | Fail) -> None:
        assert journey.order is not None
        if isinstance(action, Fail):
            self.failures.append(action.finding.message)
        else:
            self._account.download(journey.order)
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._done.set()


def bare_rate(stage: Stage, count: int) -> float:
    """Issue `count` certificates with a fresh account; gives certificates per second."""
    made, settings = composed(stage)
    acme = defaults_of(settings).acme
    assert acme is not None
    account = made.accounts.of(acme)
    assert account.url  # registered beforehand: a warm account, as the operator's
    journeys = [Journey(stage.zone.host(f"bare-{number:03}")) for number in range(count)]
    return BareIssuing(account, made.solvers, acme, journeys).run()


def composed(stage: Stage) -> tuple[Composition, Settings]:
    """The operator's own objects, over an API server that is a dictionary."""
    cluster, leadership = FakeCluster(), Leadership()
    leadership.extend(math.inf)
    secret = {"secret": base64.b64encode(stage.zone.key.secret.encode()).decode()}
    place = f"/api/v1/namespaces/{stage.sandbox.name}/secrets"
    cluster.create(place, {"metadata": {"name": TSIG_SECRET, "namespace": stage.sandbox.name}, "data": secret})
    settings = Settings(
        stage.sandbox.name,
        "bare",
        acme_server=stage.pebble.directory_url,
        acme_email=f"bare@{stage.zone.name}",
        acme_ca_bundle_file=stage.pebble.authority,
        acme_solvers=tuple(solvers(stage.zone)),
    )
    parts = Parts(settings, cluster, Metrics(), leadership, Tokens(), Claims(), threading.Event())
    return compose(parts), settings
