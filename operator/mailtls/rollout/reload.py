"""Reloads one pod: wake its kubelet, see the new file in each of its containers, run the daemons' commands in order."""

import time
from dataclasses import dataclass
from itertools import count
from threading import Event

from cryptography.hazmat.primitives.hashes import SHA256

from mailtls.api.reading.document import Json
from mailtls.api.resource import certificate_annotation
from mailtls.api.workload import Daemon
from mailtls.kube.interface import (
    ApiError,
    Cluster,
    Conflict,
    Executed,
    Unreachable,
    forbidden,
    printable,
    refused_by_rule,
)
from mailtls.kube.mounts import sub_path_mount
from mailtls.kube.workload import PodState, Reader, readiness, run_of
from mailtls.net.backoff import FILE
from mailtls.net.effects import Interrupted
from mailtls.pki.loading import certificates
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.signals import not_sent, obstacle, sending
from mailtls.rollout.steps import ReloadPod

NOT_FOUND = 404
SERVER_ERRORS = 500
EXEC = "get and create pods/exec"  # by websocket: newer clusters ask for both, older ones for get
BLIND_WAIT = 5.0
"""Seconds given to the kubelet where the file cannot be read: ten times what a woken one usually takes."""
READ_TIMEOUT = 5.0
COMMAND_TIMEOUT = 30.0
LIMITER = ("timeout", "-k", "5")
"""Of coreutils and BusyBox: sends SIGTERM when the time is over, and SIGKILL so many seconds later."""
KILLED_AFTER = 5.0
ENDED_BY_LIMITER = frozenset({124, 137, 143})
"""Exit codes of `timeout`: its own, of a command that SIGKILL ended, and what BusyBox passes on of SIGTERM."""
GOES_ON = "goes on, as its image has no `timeout` to end it; no second one is started beside it"
CANNOT_RUN = frozenset({126, 127})
NOT_STARTED = "unable to start container process: "
NO_SUCH_PROGRAM = "executable file"  # runc: `executable file not found`, crun: "executable file `cat` not found"


class _ExecUnavailable(Exception):
    """The API server answers, but the command could not be run in the pod."""


def reload_pod(
    cluster: Cluster,
    namespace: str,
    step: ReloadPod,
    wanted_sha256: str,
    *,
    secret_name: str,
    timeout: float,
    stopping: Event,
    is_woken: bool = False,
) -> Finding | None:
    """Perform `step`; None when every file has the wanted leaf and then every reload command succeeded.

    Nothing is reloaded before all files are seen, and nothing more once a command failed; to do it all again is safe.

    `timeout`, in seconds, bounds the wait for the file; `is_woken` where the pod's kubelet was woken for it before.
    Raises `Interrupted` soon after `stopping` is set, and `Unreachable` where the API server is away; both leave a
    state from which the same step can be taken again. So does the finding `ExecUnavailable`: the API server
    answers, and no command can be run in this pod.
    """
    visit = _Visit(cluster, namespace, step, wanted_sha256, secret_name, stopping)
    try:
        if not is_woken and (refused := visit.wake_kubelet()) is not None:
            return refused
        return visit.await_files(time.monotonic() + timeout) or visit.run_commands()
    except _ExecUnavailable as failure:
        message = f"No command can be run in pod {step.pod.name}: {printable(str(failure))}"
        return Finding(Reason.EXEC_UNAVAILABLE, message)


@dataclass(frozen=True, slots=True)
class _Visit:
    cluster: Cluster
    namespace: str
    step: ReloadPod
    wanted_sha256: str
    secret_name: str
    stopping: Event

    @property
    def pod(self) -> PodState:
        return self.step.pod

    @property
    def _patience(self) -> float:
        """Seconds for each command: all of a pod together have no more than one alone."""
        return COMMAND_TIMEOUT / max(1, len(self.step.workload.reloaded))

    def wake_kubelet(self) -> Finding | None:
        """Annotate the pod: any change of a pod makes its kubelet look at the Secret at once."""
        values: tuple[str | None, ...] = (self.wanted_sha256,)
        if self.pod.reloaded_sha256 == self.wanted_sha256:
            values = (None, self.wanted_sha256)  # the same value again would wake nobody
        try:
            for value in values:
                self._annotate(value)
        except ApiError as error:
            return self._refused(error, "patch pods")
        self._sleep(FILE.first.total_seconds())  # no kubelet is quicker, and each look is a command in the pod
        return None

    def _annotate(self, value: str | None) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/pods/{self.pod.name}"
        # The uid guards against a namesake: the API server refuses to change it when the pod was replaced meanwhile.
        metadata = {"uid": self.pod.uid, "annotations": {certificate_annotation(self.secret_name): value}}
        self.cluster.merge(path, {"metadata": metadata})

    def await_files(self, deadline: float) -> Finding | None:
        """Wait until each container sees the wanted leaf; a fixed time where an image cannot show files."""
        is_blind = False
        for reader in dict.fromkeys(reader for _, reader in self.step.due):
            fault, was_seen = self._await_file(reader, deadline)
            if fault is not None:
                return fault
            is_blind = is_blind or not was_seen
        if is_blind:
            self._sleep(min(BLIND_WAIT, deadline - time.monotonic()))
        return None

    def _await_file(self, reader: Reader, deadline: float) -> tuple[Finding | None, bool]:
        """Say what keeps the file from being new, and whether it could be seen at all."""
        if reader.container is None or reader.path is None:
            return None, False
        for looks in count(1):
            pause = FILE.after(looks).total_seconds()
            try:
                shown = self._execute(("cat", reader.path), READ_TIMEOUT, reader.container)
            except ApiError as error:
                return self._refused(error, EXEC), False
            if _cannot_run(shown):
                return None, False
            if leaf_sha256(shown.stdout) == self.wanted_sha256:
                return None, True
            if reader.sub_path:
                return sub_path_mount(f"pod {self.pod.name}", reader.container, reader.path), True
            if time.monotonic() + pause >= deadline:
                return self._file_not_updated(reader, shown), True
            self._sleep(pause)
        raise AssertionError("the deadline ends the loop")

    def run_commands(self) -> Finding | None:
        """Run the reload commands in their order; some daemons have none, as they watch their files themselves."""
        for daemon, reader in self.step.due:
            is_reloaded = daemon.command or daemon.signal
            if is_reloaded and (fault := self._run(daemon, reader.container)) is not None:
                return fault
        return None

    def _run(self, daemon: Daemon, container: str | None) -> Finding | None:
        if container is None:
            message = f"Pod {self.pod.name} has no container that mounts the certificate; name one in spec.workloads."
            return Finding(Reason.CONTAINER_NOT_FOUND, message)
        if wrong := obstacle(daemon, self.pod.process_scope):
            return Finding(Reason.RELOAD_FAILED, f"{self._named(daemon, container)} was not tried: {wrong}")
        try:
            executed, is_limited = self._run_limited(
                sending(daemon.signal) if daemon.signal else daemon.command, container
            )
            if executed.exit_code == 0:
                return None
            found = self._found()
        except ApiError as error:
            return self._refused(error, EXEC)
        if found is None:
            return self._replaced()
        fault = self._reload_failed(daemon, container, executed, is_limited=is_limited)
        return fault if self._was_up(found) else self._not_up_yet(fault)

    def _run_limited(self, command: tuple[str, ...], container: str) -> tuple[Executed, bool]:
        """Run the command so that it is ended in the pod when its time is over, where the image has the means.

        That holds whatever becomes of the connection, or of this process: no second one ever runs beside it.
        """
        limited = (*LIMITER, f"{self._patience:g}", *command)
        executed = self._execute(limited, self._patience + KILLED_AFTER + READ_TIMEOUT, container)
        if not _lacks_limiter(executed):
            return executed, True
        return self._execute(command, self._patience, container), False

    def _execute(self, command: tuple[str, ...], timeout: float, container: str) -> Executed:
        if self.stopping.is_set():
            raise Interrupted
        try:
            return self.cluster.execute(self.namespace, self.pod.name, container, command, timeout)
        except ApiError as error:
            if NOT_STARTED in error.message or NO_SUCH_PROGRAM in error.message:
                # The container runtime's way to say what a shell says by 127; its last words say it best.
                return Executed(127, "", error.message.rpartition(NOT_STARTED)[2])
            if error.status >= SERVER_ERRORS:  # of the way to the kubelet: the API server did answer
                raise _ExecUnavailable(error.message) from error
            raise
        except Unreachable as failure:
            if self._found() is None:
                raise ApiError(NOT_FOUND, "NotFound", self.pod.name) from failure
            raise _ExecUnavailable(str(failure)) from failure

    def _found(self) -> Json | None:
        """Return the pod, None where it is gone or going; `Unreachable` where it was the API server that was away."""
        found = self.cluster.get(f"/api/v1/namespaces/{self.namespace}/pods/{self.pod.name}")
        if found is None or found["metadata"].get("deletionTimestamp"):
            return None
        return found if found["metadata"].get("uid", self.pod.uid) == self.pod.uid else None

    def _was_up(self, found: Json) -> bool:
        """Whether the pod was ready before the command and after it, and nothing restarted: then its server failed."""
        status = found.get("status") or {}
        has_restarted = bool(self.pod.run) and run_of(self.pod.uid, status) != self.pod.run
        return self.pod.ready and readiness(status).get("status") != "False" and not has_restarted

    def _not_up_yet(self, fault: Finding) -> Finding:
        return Finding(Reason.POD_NOT_READY, f"Pod {self.pod.name} is not ready: {fault.message}")

    def _sleep(self, seconds: float) -> None:
        if self.stopping.wait(max(0.0, seconds)):
            raise Interrupted

    def _refused(self, error: ApiError, verb: str) -> Finding:
        where = f"pod {self.pod.name}"
        if (found := refused_by_rule(error)) is not None:
            return found if found.reason is not Reason.FORBIDDEN else forbidden(verb, self.namespace)
        if error.is_missing or isinstance(error, Conflict):
            return self._replaced()
        return Finding(Reason.RELOAD_FAILED, f"The API server could not {verb} for {where}: {printable(error.message)}")

    def _replaced(self) -> Finding:
        message = f"The pod {self.pod.name} was replaced or deleted during its reload."
        return Finding(Reason.POD_NOT_READY, message)

    def _file_not_updated(self, reader: Reader, shown: Executed) -> Finding:
        said = printable(shown.stderr)
        message = (
            f"{reader.path} in container {reader.container} of pod {self.pod.name} does not hold the "
            f"new certificate{f' ({said})' if said else ''}; see that the volume names the Secret and that the "
            "kubelet of the pod's node is well."
        )
        return Finding(Reason.FILE_NOT_UPDATED, message)

    def _reload_failed(self, daemon: Daemon, container: str, executed: Executed, *, is_limited: bool) -> Finding:
        if daemon.signal and (hint := not_sent(executed, container, self.pod.process_scope)):
            return Finding(Reason.RELOAD_FAILED, f"{self._named(daemon, container)} was not sent: {hint}")
        if is_limited and executed.exit_code in ENDED_BY_LIMITER:
            how = f"did not end within {self._patience:g} seconds and was ended"
        elif executed.exit_code is None:
            how = f"did not end within {self._patience:g} seconds, and {GOES_ON}"
        else:
            how = f"ended with exit code {executed.exit_code}"
        said = printable(executed.stderr or executed.stdout) or "it said nothing"
        return Finding(Reason.RELOAD_FAILED, f"{self._named(daemon, container)} {how}: {said}")

    def _named(self, daemon: Daemon, container: str) -> str:
        """Write what is run, for whom and where."""
        whose = f" of {daemon.name}" if daemon.reload_words.startswith("`") else ""
        where = f"{'from' if daemon.signal else 'in'} container {container} of pod {self.pod.name}"
        return f"{daemon.reload_words}{whose} {where}"


def _cannot_run(executed: Executed) -> bool:
    return executed.exit_code in CANNOT_RUN or (executed.exit_code != 0 and NO_SUCH_PROGRAM in executed.stderr)


def _lacks_limiter(executed: Executed) -> bool:
    """Whether `timeout` was not there to be run, or is one of old that takes other options: nothing was run then."""
    if executed.exit_code == 0:
        return False
    is_missing = _cannot_run(executed) and NO_SUCH_PROGRAM in executed.stderr and LIMITER[0] in executed.stderr
    return is_missing or "usage: timeout" in executed.stderr.lower()


def leaf_sha256(pem: str) -> str | None:
    """Return the SHA-256 (hex) of the first certificate in `pem`, None where there is none that can be read."""
    try:
        return certificates(pem.encode())[0].fingerprint(SHA256()).hex()
    except ValueError:
        return None
