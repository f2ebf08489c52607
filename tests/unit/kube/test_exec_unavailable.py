"""Pods in which no command can be run, and commands that outlive their time-out."""

import ssl
from datetime import datetime, timedelta
from itertools import pairwise
from threading import Event, Timer

import pytest
import websocket

from builders.whole_reconcile import PATH, WholeReconcile
from mailtls.context import Context
from mailtls.kube import execution
from mailtls.kube.execution import Call, Commands
from mailtls.kube.interface import Executed, Unreachable
from mailtls.stage import Decision, Plan
from mailtls.step import Rest

MINUTE = timedelta(minutes=1)
BROKEN = Unreachable("The API server answered 504: the node does not answer")
CALL = Call("wss://127.0.0.1:1/exec", {}, ssl.create_default_context())
PLACE = ("mail", "postfix-0", "postfix", "postfix", "reload")


def fail(_pod: str) -> Executed:
    """Fail as a dead kubelet does."""
    raise BROKEN


def test_exec_channel_that_fails_has_a_reason_and_ends_by_the_time_out() -> None:
    """It is said at once, tried again with growing pauses, and in the end the rollout has failed."""
    passes = WholeReconcile()
    tries, begun = [], passes.clock.now()

    def fail_and_count(pod: str) -> Executed:
        tries.append(passes.clock.now() - begun)
        return fail(pod)

    passes.cluster.on_cat = fail_and_count
    delay = passes.run()
    assert passes.condition("RolledOut")["reason"] == "ExecUnavailable"
    assert "postfix-0: The API server answered 504" in passes.condition("RolledOut")["message"]
    while passes.condition("RolledOut")["reason"] == "ExecUnavailable":
        assert delay is not None
        assert delay <= MINUTE.total_seconds()
        passes.clock.advance(timedelta(seconds=delay))
        delay = passes.run()
    ended = passes.condition("RolledOut")
    assert (ended["reason"], ended["status"]) == ("RolloutTimeout", "False")
    assert "the node does not answer" in ended["message"]
    pauses = [after - before for before, after in pairwise(tries)]
    assert pauses[0] < timedelta(seconds=5) < pauses[3] < pauses[5]
    assert timedelta(minutes=9) < tries[-1] < timedelta(minutes=11)
    assert len(tries) < 20
    known = len(tries)
    passes.clock.advance(MINUTE / 6)
    passes.run()
    assert len(tries) == known


def test_slow_reload_says_what_it_waits_for_while_it_lasts() -> None:
    """The status is written before the first pod is told, and before each that follows a slow one."""
    passes, said = WholeReconcile(2), []

    def be_slow(_pod: str) -> Executed:
        said.append(passes.condition("RolledOut"))
        passes.clock.advance(timedelta(seconds=20))
        return Executed(0, "", "")

    passes.cluster.on_reload = be_slow
    passes.run()
    assert [each["reason"] for each in said] == ["RollingOut", "RollingOut"]
    for pod, told in zip(("postfix-0", "postfix-1"), said, strict=True):
        assert f"container postfix of pod {pod}" in told["message"]
        assert "then runs " in told["message"]
    assert passes.condition("RolledOut")["status"] == "True"


def test_workload_that_another_resource_names_too_is_said_once() -> None:
    """Both go on, and who wonders why pods restart twice finds the reason in the condition and one Event."""
    passes = WholeReconcile(1)
    other = passes.cluster.get(PATH)
    assert other is not None
    other["metadata"] |= {"name": "imap", "uid": "another"}
    other["spec"] |= {"secretName": "imap-tls"}
    for each in (other, passes.cluster.get(PATH)):
        assert each is not None
        passes.observer.claims.note(each)
    for _ in range(2):
        passes.run()
        assert "StatefulSet/postfix is also named by MailServerTLS imap" in passes.condition("RolledOut")["message"]
    assert passes.condition("RolledOut")["status"] == "True"
    assert [each["reason"] for each in passes.events()].count("WorkloadShared") == 1


def test_exec_channel_that_is_back_lets_the_rollout_go_on() -> None:
    """What was put off is done, without a failed attempt."""
    passes = WholeReconcile()
    well, passes.cluster.on_cat = passes.cluster.on_cat, fail
    passes.run()
    passes.cluster.on_cat = well
    passes.clock.advance(MINUTE)
    passes.run()
    assert passes.cluster.reloaded == ["postfix-0", "postfix-1", "postfix-2"]
    assert passes.condition("Ready")["status"] == "True"


def test_api_server_that_is_away_ends_the_pass_and_counts_for_nothing() -> None:
    """Nothing can be said of the pod then, and the queue tries again."""
    passes = WholeReconcile()

    def be_away(pod: str) -> Executed:
        passes.cluster.is_down = True
        return fail(pod)

    passes.cluster.on_cat = be_away
    with pytest.raises(Unreachable):
        passes.run()
    passes.cluster.is_down = False
    assert passes.condition("RolledOut").get("reason") != "ExecUnavailable"


class SlowCommand:
    """A connection whose command ends when a test says so."""

    def __init__(self) -> None:
        self.ended = Event()
        self.timeout = 0.0
        self.is_told = False

    def settimeout(self, seconds: float) -> None:
        """Set how long to wait for a message."""
        self.timeout = seconds

    def recv_data(self) -> tuple[int, bytes]:
        """Give the final status once the command has ended, then the end."""
        if not self.ended.wait(self.timeout):
            raise websocket.WebSocketTimeoutException
        if self.is_told:
            return websocket.ABNF.OPCODE_CLOSE, b""
        self.is_told = True
        return websocket.ABNF.OPCODE_BINARY, b'\x03{"status": "Success"}'

    def shutdown(self) -> None:
        """Close."""


def test_command_that_ran_out_of_time_is_waited_for_and_not_started_beside_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second try learns how the first one ended; only then is the command started anew."""
    started: list[SlowCommand] = []

    def connect(_call: Call, _timeout: float) -> SlowCommand:
        started.append(SlowCommand())
        return started[-1]

    monkeypatch.setattr(execution, "_connect", connect)
    commands = Commands()
    assert commands.run(PLACE, CALL, 0.05).exit_code is None
    assert commands.run(PLACE, CALL, 0.05).exit_code is None
    assert len(started) == 1
    Timer(0.3, started[0].ended.set).start()
    assert commands.run(PLACE, CALL, 10).exit_code == 0
    assert commands.run(PLACE, CALL, 0.05).exit_code is None
    assert len(started) == 2
    started[1].ended.set()


def test_file_that_comes_late_is_waited_for_by_the_queue() -> None:
    """The worker is free meanwhile; the kubelet is woken once, and the pod is reloaded once its file is there."""
    passes = WholeReconcile(pods=1, file_patience=timedelta(0))
    pod = "/api/v1/namespaces/mail/pods/postfix-0"
    fresh, passes.cluster.on_cat = passes.cluster.on_cat, lambda _pod: Executed(0, "", "")
    delay = passes.run()
    woken = passes.cluster.objects[pod]["metadata"]["resourceVersion"]
    for _ in range(3):
        told = passes.condition("RolledOut")
        assert (told["status"], told["reason"]) == ("False", "FileNotUpdated")
        assert delay is not None
        assert 0 <= delay <= 5  # none is left where the machine was slow
        passes.clock.advance(timedelta(seconds=delay))
        delay = passes.run()
    assert passes.cluster.objects[pod]["metadata"]["resourceVersion"] == woken
    assert passes.cluster.reloaded == []
    passes.cluster.on_cat = fresh
    passes.clock.advance(timedelta(seconds=5))
    passes.run()
    assert passes.cluster.reloaded == ["postfix-0"]
    assert passes.condition("RolledOut")["status"] == "True"


def test_what_is_said_is_as_old_as_what_was_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """A status that is written late does not speak of a reload that is only about to be decided on."""
    passes = WholeReconcile(pods=1, file_patience=timedelta(0))
    passes.cluster.on_cat = lambda _pod: Executed(0, "", "")
    decide = Plan.next

    def decide_slowly(plan: Plan, context: Context, now: datetime) -> Decision | Rest:
        decision = decide(plan, context, now)
        if isinstance(decision, Rest):
            passes.clock.advance(timedelta(minutes=1))
        return decision

    monkeypatch.setattr(Plan, "next", decide_slowly)
    passes.run()
    assert passes.condition("RolledOut")["reason"] == "FileNotUpdated"


def test_file_that_never_comes_ends_the_rollout_by_its_time_out() -> None:
    """With the reason that names the file."""
    passes = WholeReconcile(pods=1, file_patience=timedelta(0))
    passes.cluster.on_cat = lambda _pod: Executed(0, "", "")
    begun, failed = passes.clock.now(), passes.metrics.registry
    while not failed.get_sample_value("mailtls_rollouts_total", {"outcome": "failed"}):
        delay = passes.run()
        assert delay is not None
        passes.clock.advance(timedelta(seconds=max(delay, 1)))
        assert passes.clock.now() - begun < 12 * MINUTE
    assert passes.condition("RolledOut")["reason"] == "FileNotUpdated"
    assert passes.clock.now() - begun > 9 * MINUTE
