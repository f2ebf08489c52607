"""What one pass leaves to the next."""

from dataclasses import replace
from datetime import timedelta

import pytest

from builders.pairs import self_signed
from builders.stories import desired
from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailtls.api.reading.spec import Defaults
from mailtls.api.resource import Request
from mailtls.api.spec import Key, PrivateKeyPolicy
from mailtls.api.state import Failure
from mailtls.api.workload import Daemon, UpdateStrategy, Workload, WorkloadKind
from mailtls.context import Context
from mailtls.controller.observe import READ_LASTS, Observer
from mailtls.issuance.certificates import new_key
from mailtls.issuance.solvers.registry import SOLVERS
from mailtls.kube.claims import Claims
from mailtls.kube.interface import Unreachable
from mailtls.kube.secrets import Secrets
from mailtls.kube.snapshot import ServingSecret
from mailtls.kube.workload import PodState, WorkloadState
from mailtls.probe.target import Endpoint, Port, TlsMode, TlsPolicy
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.steps import RollProgress
from mailtls.verification.evidence import targets

SMTP = Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
POSTFIX = Workload(WorkloadKind.STATEFUL_SET, "postfix", UpdateStrategy.RELOAD, (Daemon("postfix", (SMTP,)),))
STATES = (WorkloadState(POSTFIX, pods=(PodState("postfix-0", "uid-0", ("198.51.100.1",), ready=True),)),)
WANTED = desired(workloads=(POSTFIX,))


class Passes:
    """An observer over a Secret that holds a certificate."""

    def __init__(self) -> None:
        self.cluster, self.clock, key = FakeCluster(), WallClock(), new_key(PrivateKeyPolicy())
        cluster, secrets = self.cluster, Secrets(self.cluster)
        self.certificate = self_signed(key)
        secrets.store(WANTED, self.certificate, key, ServingSecret(exists=False))
        self.observer = Observer(cluster, secrets, Claims(), self.clock, Defaults(SOLVERS))

    def observe(self, generation: int = 1) -> Context:
        """Begin a pass."""
        return self.observer.observe(replace(WANTED, generation=generation), {"metadata": {"generation": generation}})

    def pause(self) -> Context:
        """End a pass that read everything, and waits for the CA."""
        self.observer.paused(WANTED.key)
        self.observer.resource(WANTED.key)
        context = self.observe()
        self.observer.remember(context, is_paused=True)
        return context

    def rolling(self, served_sha256: str) -> Context:
        """A pass that told the only pod, which serves this leaf."""
        now = self.clock.now()
        endpoints = tuple(Endpoint(each, now, (), served_sha256) for each in targets(STATES, WANTED.server_name))
        told = RollProgress(now, timedelta(minutes=10), acted_at={"uid-0": now})
        return (
            self.observe()
            .with_snapshot(workloads=STATES)
            .with_verification(endpoints=endpoints, probed_at=now)
            .with_rollout(progress=told)
        )


def test_rollout_under_way_goes_on_where_it_was() -> None:
    """A pod that was told is not told again by the next pass."""
    passes = Passes()
    under_way = passes.rolling(served_sha256="00" * 32)
    passes.observer.remember(under_way)
    assert passes.observe().rollout.progress == under_way.rollout.progress


def test_secret_of_an_older_resource_may_be_read_and_not_written() -> None:
    """Who names it with spec.external takes it from nobody; who would write it learns whose it is."""
    elder = {
        "metadata": {"namespace": "mail", "name": "elder", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"secretName": WANTED.secret_name},
    }
    passes = Passes()
    passes.observer.claims.note(elder)
    assert passes.observe().snapshot.holder == Key("mail", "elder")
    reader = passes.observer.observe(replace(WANTED, is_external=True), {"metadata": {}})
    assert reader.snapshot.holder is None


def test_changed_spec_has_the_pods_asked_again() -> None:
    """What was seen was judged by the thresholds and the trust of the spec before."""
    passes = Passes()
    before = passes.rolling(served_sha256=passes.certificate.sha256)
    passes.observer.remember(before)
    assert passes.observe().verification.probed_at == before.verification.probed_at
    assert passes.observe(generation=2).verification.probed_at is None


def test_rollout_that_has_ended_leaves_a_clean_sheet() -> None:
    """A pod that is started weeks later has its whole time-out, and does not undo the rollout."""
    passes = Passes()
    passes.observer.remember(passes.rolling(served_sha256=passes.certificate.sha256))
    assert passes.observe().rollout.progress is None


def test_refusal_holds_back_until_its_time_or_another_wish() -> None:
    """Whatever wakes the resource meanwhile, the DNS server is not asked more often; who changed the spec is served."""
    passes = Passes()
    failure = Failure(Finding(Reason.DNS_UPDATE_REFUSED, "No."), passes.clock.now() + timedelta(minutes=8), lasts=True)
    passes.observer.remember(passes.observe().with_issuance(failure=failure))
    assert passes.observe().issuance.failure == failure
    assert passes.observe(generation=2).issuance.failure is None
    requested = {"metadata": {"generation": 1, "annotations": {Request.RENEW.annotation: "1"}}}
    assert passes.observer.observe(replace(WANTED, renew_requested="1"), requested).issuance.failure is None
    passes.clock.advance(timedelta(minutes=9))
    assert passes.observe().issuance.failure is None


def test_changed_spec_takes_a_failed_rollout_up_at_once() -> None:
    """Who corrected the reload command does not wait for the next attempt."""
    passes = Passes()
    failure = Failure(Finding(Reason.RELOAD_FAILED, "exit code 1"), retry_at=passes.clock.now() + timedelta(minutes=30))
    failed = passes.rolling(served_sha256="00" * 32).with_rollout(failure=failure)
    passes.observer.remember(failed)
    assert passes.observe().rollout.failure == failure
    assert passes.observe(generation=2).rollout.failure is None


def test_what_was_heard_is_read_after_a_read_that_failed() -> None:
    """A suspension with an event must not be passed by because the API server was away for a moment."""
    passes = Passes()
    passes.pause()
    passes.observer.note_event(WANTED.key)
    assert passes.observer.paused(WANTED.key) is None
    passes.cluster.is_down = True
    with pytest.raises(Unreachable):
        passes.observer.resource(WANTED.key)
    assert passes.observer.paused(WANTED.key) is None


def test_paused_pass_goes_on_without_reading_anything_again() -> None:
    """It knows what its own writes left; of the rest there would be an event."""
    passes = Passes()
    context = passes.pause()
    passes.cluster.reads.clear()
    paused = passes.observer.paused(WANTED.key)
    assert paused is not None
    assert passes.observer.resume(paused).snapshot.secret == context.snapshot.secret
    assert passes.cluster.reads == []


def test_paused_reconcile_reads_anew_after_an_event() -> None:
    """What a user decides while the CA is waited for, or while the pass still runs, counts at once."""
    passes = Passes()
    passes.pause()
    passes.observer.note_event(WANTED.key)
    assert passes.observer.paused(WANTED.key) is None
    passes.observer.note_event(WANTED.key)
    context = passes.observe()
    passes.observer.remember(context, is_paused=True)
    assert passes.observer.paused(WANTED.key) is None


def test_what_was_paused_is_over_once_a_reconcile_begins_to_read() -> None:
    """It may have read that the resource is suspended, and then no Secret; the next one must not go on as before."""
    passes = Passes()
    passes.pause()
    passes.observer.note_event(WANTED.key)
    assert passes.observer.paused(WANTED.key) is None
    passes.observer.resource(WANTED.key)
    passes.cluster.refuse["get"] = Unreachable("no answer")
    with pytest.raises(Unreachable):
        passes.observe()
    passes.cluster.refuse.clear()
    assert passes.observer.paused(WANTED.key) is None


def test_paused_pass_reads_anew_after_a_while() -> None:
    """A watch may have missed something, so that nothing is trusted for long, however often the pass goes on."""
    passes = Passes()
    passes.pause()
    for _ in range(3):
        passes.clock.advance(READ_LASTS / 4)
        paused = passes.observer.paused(WANTED.key)
        assert paused is not None
        passes.observer.remember(passes.observer.resume(paused), is_paused=True)
    passes.clock.advance(READ_LASTS / 3)
    assert passes.observer.paused(WANTED.key) is None


def test_pass_that_ended_is_not_gone_on_with() -> None:
    """Only a pass that waits for the CA has nothing to read."""
    passes = Passes()
    passes.pause()
    passes.observer.remember(passes.observe())
    assert passes.observer.paused(WANTED.key) is None
