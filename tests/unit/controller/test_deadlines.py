"""Deadlines: every step has one, all that it waits for ends by it, and the page shows the same table."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dns.message
import pytest
from kubernetes.client import Configuration

from builders.whole_reconcile import WholeReconcile
from fakes.clock import WallClock
from mailtls.issuance.acme.account_secrets import _new_key
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.issuance.acme.session import Identity, Session
from mailtls.kube.client import KubernetesCluster
from mailtls.kube.interface import Executed, Unreachable
from mailtls.net.dns_server import DnsProblem, DnsServer
from mailtls.net.effects import bounded, end_of, seconds_left, within
from mailtls.probe.prober import Prober
from mailtls.probe.target import Expected, Port, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason
from mailtls.rollout.decide import ReadWorkloads, Roll
from mailtls.stage import Stage
from mailtls.stages import STAGES, deadline_table

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "how-it-works.md"


def test_every_step_has_a_deadline() -> None:
    """The table has each step of each stage once; one that says nothing of it has the usual one."""
    steps = [stage.step for stage in STAGES if isinstance(stage, Stage)]
    assert len(set(steps)) == len(steps)
    assert all(deadline_table().count(f"`{step.__name__}`") == 1 for step in steps)
    assert ReadWorkloads.deadline.seconds == 30.0


def test_page_shows_the_table() -> None:
    """docs/explanation/how-it-works.md holds it word for word; a deadline that is not the usual says why."""
    assert deadline_table() in PAGE.read_text("utf-8")
    deadlines = [stage.step.deadline for stage in STAGES if isinstance(stage, Stage)]
    assert all(each.why for each in deadlines if each.seconds != 30.0)


def test_step_is_performed_within_its_deadline() -> None:
    """What the pod's command may still take is what the step has left."""
    passes, left = WholeReconcile(pods=1), list[float | None]()

    def note(_pod: str) -> Executed:
        left.append(seconds_left())
        return Executed(0, "", "")

    passes.cluster.on_reload = note
    passes.run()
    (seconds,) = left
    assert seconds is not None
    assert 0 < seconds <= Roll.deadline.seconds
    assert seconds_left() is None


def test_deadline_inside_of_another_never_lasts_longer() -> None:
    """The request's own time is the shorter one, or the step's."""
    assert bounded(5.0) == 5.0
    with within(60.0):
        assert bounded(5.0) == 5.0
        with within(1.0), within(60.0):
            assert bounded(5.0) <= 1.0
            assert end_of(5.0) <= time.monotonic() + 1.0
    with within(0.0), pytest.raises(TimeoutError):
        seconds_left()


@contextmanager
def silent() -> Iterator[int]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


def _ca(port: int) -> None:
    identity = Identity(f"https://127.0.0.1:{port}/directory", _new_key())
    with pytest.raises(AcmeProblem) as caught:
        Session(identity, WallClock(), lambda *_: None).directory()
    assert caught.value.finding.reason is Reason.ACME_UNREACHABLE


def _dns(port: int) -> None:
    def ask() -> None:
        with DnsServer(f"127.0.0.1:{port}").conversation() as put:
            put(dns.message.make_query("example.com", "SOA"))

    with pytest.raises(DnsProblem) as caught:
        ask()
    assert caught.value.finding.reason is Reason.DNS_UNREACHABLE


def _api_server(port: int) -> None:
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{port}"
    with pytest.raises(Unreachable):
        KubernetesCluster(lambda: configuration).get("/api/v1/namespaces/mail/secrets/mx")


def _pods(port: int) -> None:
    target = Target("127.0.0.1", Port(port, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC), "mx.example.com", pod="mx-0")
    (endpoint,) = Prober().probe([target, replace(target, pod="mx-1")][:1], Expected())
    assert endpoint.failure is not None
    assert endpoint.failure.reason is Reason.CONNECT_TIMEOUT


@pytest.mark.parametrize("ask", [_ca, _dns, _api_server, _pods])
@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_all_that_a_step_waits_for_ends_by_its_deadline(ask: Callable[[int], None], seconds: float) -> None:
    """Each says so in its own words, as if the server had not answered: the step is taken again later."""
    with silent() as port, within(seconds):
        ask(port)
