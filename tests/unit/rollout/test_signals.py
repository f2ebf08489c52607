"""A server is signalled by its process' name: real processes and shells, and what is said where it fails."""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from builders.rolling import pod, workload
from fakes.cluster import FakeCluster
from mailtls.api.workload import Daemon, Signal, SignalName
from mailtls.kube.interface import Executed
from mailtls.kube.workload import PodState, ProcessScope, Reader
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.policy import on_its_way
from mailtls.rollout.reload import reload_pod
from mailtls.rollout.signals import NOT_FOUND, sending
from mailtls.rollout.steps import ReloadPod

SHELLS = [[found] for name in ("dash", "bash") if (found := shutil.which(name))] + [
    [found, "sh"] for found in (shutil.which("busybox"),) if found
]
# The server is a shell that says when it has set its trap, and ends well by SIGHUP alone.
SERVER = "trap 'exit 7' HUP; echo; while :; do sleep 0.05; done"
WORKERS = "trap '' HUP; {worker} -c 'trap \"exit 8\" HUP; echo; while :; do sleep 0.05; done' & echo; wait"
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def program(tmp_path: Path) -> str:
    """A shell by a name that no other process has."""
    path = tmp_path / f"mx-{secrets.token_hex(4)}"
    shutil.copy(shutil.which("dash") or "/bin/sh", path)
    return str(path)


def _end_session(leader: int) -> None:
    """End a process with those that it has started, which outlive it otherwise."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process and wait for its first line; all are ended with the test."""
    with ExitStack() as stack:

        def started(*command: str) -> subprocess.Popen[str]:
            # No shell traps a signal that was ignored when it began, as SIGHUP is in tests that `nohup` runs.
            as_usual = ("env", "--default-signal=HUP", *command)
            process = subprocess.Popen(as_usual, stdout=subprocess.PIPE, text=True, start_new_session=True)
            stack.callback(process.wait)
            stack.callback(_end_session, process.pid)
            assert process.stdout is not None
            process.stdout.readline()
            return process

        yield started


def send(shell: Sequence[str], to: str, name: SignalName = SignalName.HUP) -> subprocess.CompletedProcess[str]:
    """Send it as it is sent in a container, by a shell of our choice."""
    return subprocess.run(
        [*shell, *sending(Signal(name, to))[1:]], capture_output=True, text=True, check=False, timeout=20
    )


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: Path(shell[0]).name)
def test_oldest_process_of_the_name_gets_the_signal(shell: list[str], program: str, start: Start) -> None:
    """A second one of its name, as a worker that lost its parent would be, goes on."""
    first, second = start(program, "-c", SERVER), start(program, "-c", SERVER)
    assert send(shell, Path(program).name).returncode == 0
    assert first.wait(timeout=10) == 7
    assert second.poll() is None


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: Path(shell[0]).name)
def test_workers_of_the_name_are_spared(shell: list[str], program: str, start: Start) -> None:
    """A worker that ends by the signal would drop a connection; the master has another parent."""
    master = start(program, "-c", WORKERS.format(worker=program))
    done = send(shell, Path(program).name)
    assert (done.returncode, done.stderr) == (0, "")
    assert master.poll() is None
    assert send(shell, Path(program).name, SignalName.USR1).returncode == 0
    assert master.wait(timeout=10) == -signal.SIGUSR1


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: Path(shell[0]).name)
def test_name_that_no_process_has_is_answered_by_the_names_that_there_are(shell: list[str]) -> None:
    """Whoever mistyped it finds the right one in the list."""
    done = send(shell, "no-such-server")
    assert done.returncode == NOT_FOUND
    assert Path(shell[0]).name in done.stderr.split()


def test_long_name_is_cut_as_the_kernel_cuts_it(program: str, start: Start, tmp_path: Path) -> None:
    """`ps -o comm` shows 15 characters, and people write the whole name."""
    longer = tmp_path / f"{Path(program).name}-of-many-letters"
    shutil.copy(program, longer)
    server = start(str(longer), "-c", SERVER)
    assert send(SHELLS[0], longer.name).returncode == 0
    assert server.wait(timeout=10) == 7


HUP = Daemon("maddy", (), container="tools", signal=Signal(SignalName.HUP, "maddy"))
BY_SIGNAL = replace(workload(), daemons=(HUP,))
POD_PATH = "/api/v1/namespaces/mail/pods/p-0"
SENDER: PodState = replace(pod("p-0"), readers=(Reader("tools"),))


def reloaded(answer: Executed, scope: ProcessScope, daemon: Daemon = HUP) -> tuple[Finding | None, FakeCluster]:
    """Reload the pod, whose container answers so."""
    cluster = FakeCluster({POD_PATH: {"metadata": {"uid": SENDER.uid}}}, answer=lambda _asked: answer)
    step = ReloadPod(replace(workload(), daemons=(daemon,)), replace(SENDER, process_scope=scope))
    found = reload_pod(cluster, "mail", step, "1" * 64, secret_name="mx-tls", timeout=0.1, stopping=Event())
    return found, cluster


def test_signal_is_sent_by_the_shell_of_the_container() -> None:
    """With a time limit, as any command."""
    found, cluster = reloaded(Executed(0, "", ""), ProcessScope.POD)
    assert found is None
    (ran,) = [(where, command) for verb, where, command in cluster.requests if verb == "execute"]
    assert ran == ("mail/p-0/tools", ("timeout", "-k", "5", "30", *sending(Signal(SignalName.HUP, "maddy"))))
    assert on_its_way(ReloadPod(BY_SIGNAL, SENDER)).endswith(
        "of pod p-0 to see the new certificate, then sends SIGHUP to maddy."
    )


@pytest.mark.parametrize(
    ("answer", "scope", "words"),
    [
        (
            Executed(NOT_FOUND, "", " sh sleep\n"),
            ProcessScope.CONTAINER,
            "but sh sleep; the pod's containers do not share their processes, so set shareProcessNamespace: true",
        ),
        (
            Executed(NOT_FOUND, "", " pause sh\n"),
            ProcessScope.POD,
            "no process of this name is there, but pause sh; correct",
        ),
        (Executed(127, "", 'exec: "sh": executable file not found in $PATH'), ProcessScope.POD, "tools has no shell"),
        (Executed(1, "", "sh: kill: Operation not permitted"), ProcessScope.POD, "run both as the same user"),
    ],
)
def test_signal_that_was_not_sent_names_the_cause(answer: Executed, scope: ProcessScope, words: str) -> None:
    """Signal, process, container and pod are named as well."""
    found, _ = reloaded(answer, scope)
    assert found is not None
    assert found.reason is Reason.RELOAD_FAILED
    assert found.message.startswith("SIGHUP to maddy from container tools of pod p-0 was not sent: ")
    assert words in found.message


@pytest.mark.parametrize(
    ("daemon", "scope", "words"),
    [
        (HUP, ProcessScope.NODE, "SIGHUP to maddy from container tools of pod p-0 was not tried: the pod sees all"),
        (replace(HUP, signal=None, command=("sh", "-c", "kill -HUP 1")), ProcessScope.POD, "process 1 is another one"),
    ],
)
def test_reload_that_would_reach_another_process_is_not_tried(daemon: Daemon, scope: ProcessScope, words: str) -> None:
    """Servers of other pods on the node, and the pod's own first process, which ignores it."""
    found, cluster = reloaded(Executed(0, "", ""), scope, daemon)
    assert found is not None
    assert words in found.message
    assert "execute" not in cluster.verbs()


def test_preset_that_signals_process_1_is_run_where_each_container_has_its_own() -> None:
    """As ever."""
    found, cluster = reloaded(
        Executed(0, "", ""), ProcessScope.CONTAINER, replace(HUP, signal=None, command=("sh", "-c", "kill -HUP 1"))
    )
    assert (found, cluster.verbs()) == (None, ("merge", "execute"))
