"""Telling one pod to load the certificate: wake, wait for the file, run the command."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from fakes.cluster import FakeCluster
from mailtls.api.reading.document import Json
from mailtls.api.workload import Daemon, UpdateStrategy, Workload, WorkloadKind
from mailtls.kube.interface import ApiError, Conflict, Executed, Unreachable, printable
from mailtls.kube.workload import PodState, Reader
from mailtls.net.effects import Interrupted
from mailtls.reasons.reason import Finding, Reason
from mailtls.rollout.reload import leaf_sha256, reload_pod
from mailtls.rollout.steps import ReloadPod

COMMAND = ("postfix", "reload")
LIMITED = ("timeout", "-k", "5", "30", *COMMAND)
POSTFIX = Workload(WorkloadKind.STATEFUL_SET, "postfix", UpdateStrategy.RELOAD, (Daemon("postfix", (), COMMAND),))
POD = PodState("postfix-0", "uid-of-postfix-0", ("198.18.1.7",), True, readers=(Reader("postfix", "/tls.crt"),))
POD_PATH = "/api/v1/namespaces/mail/pods/postfix-0"
ALIVE: dict[str, Json] = {POD_PATH: {"metadata": {"uid": POD.uid}}}
CONTAINERD = (
    "Internal error occurred: error executing command in container: failed to exec in container: failed to start exec "
    f'"{"f1a2" * 16}": OCI runtime exec failed: exec failed: unable to start container process: '
)
NO_CAT = f'{CONTAINERD}exec: "cat": executable file not found in $PATH: unknown'
NO_CAT_CRIO = "command error: exec failed: executable file `cat` not found in $PATH: No such file or directory"


@cache
def certificate(name: str) -> tuple[str, str]:
    """Make a self-signed certificate; returns PEM and SHA-256."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime(2026, 5, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + timedelta(days=1))
    made = builder.sign(key, SHA256())
    return made.public_bytes(Encoding.PEM).decode(), made.fingerprint(SHA256()).hex()


OLD_PEM, OLD = certificate("old")
NEW_PEM, NEW = certificate("new")


def shows(*files: str | Executed, command: Executed | None = None) -> Callable[[Sequence[str]], Executed]:
    """Answer each `cat` with the next file, the last one for ever, and the reload with `command`."""
    left = list(files)

    def answer(asked: Sequence[str]) -> Executed:
        if asked[0] != "cat":
            return command or Executed(0, "", "")
        file = left.pop(0) if len(left) > 1 else left[0]
        return file if isinstance(file, Executed) else Executed(0, file, "")

    return answer


def tell(cluster: FakeCluster, pod: PodState = POD, of: Workload = POSTFIX, timeout: float = 3) -> Finding | None:
    """Tell the pod to load the new certificate."""
    return reload_pod(
        cluster, "mail", ReloadPod(of, pod), NEW, secret_name="mx-tls", timeout=timeout, stopping=threading.Event()
    )


def told(finding: Finding | None, *parts: str) -> Reason:
    """Return the finding's reason after seeing that its message holds all parts."""
    assert finding is not None
    for part in parts:
        assert part in finding.message
    return finding.reason


def test_pod_is_woken_awaited_and_reloaded_in_this_order() -> None:
    """The command runs only once the container sees the new file."""
    cluster = FakeCluster(ALIVE, answer=shows(OLD_PEM, "", NEW_PEM + OLD_PEM))
    assert tell(cluster) is None
    woken = {"metadata": {"uid": POD.uid, "annotations": {"mailtls.dev/certificate.mx-tls": NEW}}}
    look = ("execute", "mail/postfix-0/postfix", ("cat", "/tls.crt"))
    assert cluster.requests == [
        ("merge", POD_PATH, woken),
        look,
        look,
        look,
        ("execute", "mail/postfix-0/postfix", LIMITED),
    ]


class CountedWaits(threading.Event):
    """Lets no time pass, and keeps what was waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Note the time."""
        self.waits.append(timeout or 0.0)
        return self.is_set()


def test_file_is_looked_at_soon_after_its_kubelet_was_woken_and_then_ever_less_often() -> None:
    """A kubelet takes a tenth of a second, and each look is a command in the pod."""
    cluster, waits = FakeCluster(ALIVE, answer=shows(OLD_PEM, OLD_PEM, OLD_PEM, NEW_PEM)), CountedWaits()
    step = ReloadPod(POSTFIX, POD)
    assert reload_pod(cluster, "mail", step, NEW, secret_name="mx-tls", timeout=3, stopping=waits) is None
    assert waits.waits == pytest.approx([0.05, 0.05, 0.075, 0.1125])
    again = FakeCluster(ALIVE, answer=shows(NEW_PEM))
    assert reload_pod(again, "mail", step, NEW, secret_name="mx-tls", timeout=3, stopping=waits, is_woken=True) is None
    assert len(waits.waits) == 4


DOVECOT = Daemon("dovecot", (), ("doveadm", "reload"))
BOTH = replace(POSTFIX, daemons=(*POSTFIX.daemons, DOVECOT))
WITH_DOVECOT = replace(POD, readers=(*POD.readers, Reader("dovecot", "/etc/tls/tls.crt")))


def test_all_daemons_of_a_pod_are_reloaded_each_in_its_container() -> None:
    """First every container sees the file, then one command after the other is run; they share the time of one."""
    cluster = FakeCluster(ALIVE, answer=shows(NEW_PEM))
    assert tell(cluster, WITH_DOVECOT, BOTH) is None
    ran = [(where, command) for verb, where, command in cluster.requests if verb == "execute"]
    limited = ("timeout", "-k", "5", "15")
    assert ran == [
        ("mail/postfix-0/postfix", ("cat", "/tls.crt")),
        ("mail/postfix-0/dovecot", ("cat", "/etc/tls/tls.crt")),
        ("mail/postfix-0/postfix", (*limited, *COMMAND)),
        ("mail/postfix-0/dovecot", (*limited, "doveadm", "reload")),
    ]


def test_no_daemon_is_reloaded_before_the_last_container_sees_the_file() -> None:
    """Postfix would serve the new certificate, and Dovecot the old one, for as long as its kubelet is late."""

    def answer(asked: Sequence[str]) -> Executed:
        return Executed(0, OLD_PEM if asked[-1] == "/etc/tls/tls.crt" else NEW_PEM, "")

    cluster = FakeCluster(ALIVE, answer=answer)
    found = tell(cluster, WITH_DOVECOT, BOTH, timeout=0.5)
    assert told(found, "/etc/tls/tls.crt in container dovecot of pod postfix-0") is Reason.FILE_NOT_UPDATED
    assert all(command[0] == "cat" for verb, _, command in cluster.requests if verb == "execute")


def test_daemons_in_one_container_look_at_their_file_once() -> None:
    """As in docker-mailserver; both commands are run there."""
    cluster = FakeCluster(ALIVE, answer=shows(NEW_PEM))
    assert tell(cluster, replace(POD, readers=POD.readers * 2), BOTH) is None
    ran = [(where, command[-2:]) for verb, where, command in cluster.requests if verb == "execute"]
    assert ran == [("mail/postfix-0/postfix", each) for each in (("cat", "/tls.crt"), COMMAND, DOVECOT.command)]


def test_only_the_daemon_that_needs_it_is_reloaded() -> None:
    """Neither is the file of the other looked at."""
    cluster = FakeCluster(ALIVE, answer=shows(NEW_PEM))
    step = ReloadPod(BOTH, WITH_DOVECOT, frozenset({1}))
    stopping = threading.Event()
    assert reload_pod(cluster, "mail", step, NEW, secret_name="mx-tls", timeout=3, stopping=stopping) is None
    assert {where for verb, where, _ in cluster.requests if verb == "execute"} == {"mail/postfix-0/dovecot"}


def test_second_command_that_fails_is_named_with_its_own_container() -> None:
    """Postfix has read the certificate, and Dovecot has not: that is what a person has to know."""

    def answer(asked: Sequence[str]) -> Executed:
        if asked[0] == "cat":
            return Executed(0, NEW_PEM, "")
        return Executed(75, "", "no such master") if "doveadm" in asked else Executed(0, "", "")

    finding = tell(FakeCluster(ALIVE, answer=answer), WITH_DOVECOT, BOTH)
    assert (
        told(finding, "`doveadm reload` of dovecot in container dovecot of pod postfix-0", "no such master")
        is Reason.RELOAD_FAILED
    )


def test_pod_told_before_is_woken_by_a_changed_annotation() -> None:
    """Writing the same value again would change nothing and wake no kubelet."""
    cluster = FakeCluster(ALIVE, answer=shows(NEW_PEM))
    assert tell(cluster, replace(POD, reloaded_sha256=NEW)) is None
    values = [
        body["metadata"]["annotations"]["mailtls.dev/certificate.mx-tls"] for verb, _, body in cluster.requests[:2]
    ]
    assert values == [None, NEW]


def test_file_that_never_changes_is_named_and_the_command_not_run() -> None:
    """Reloading the old file would only look like success."""
    cluster = FakeCluster(ALIVE, answer=shows(OLD_PEM))
    assert told(tell(cluster, timeout=0.5), "/tls.crt", "postfix-0") is Reason.FILE_NOT_UPDATED
    assert all(command != LIMITED for _, _, command in cluster.requests)


def test_file_that_cannot_be_read_is_named_with_what_cat_said() -> None:
    """A wrong path or permission shows in the message."""
    denied = Executed(1, "", "cat: /tls.crt: Permission denied\n")
    assert (
        told(tell(FakeCluster(ALIVE, answer=shows(denied)), timeout=0.5), "Permission denied")
        is Reason.FILE_NOT_UPDATED
    )


BY_SUB_PATH = replace(POD, readers=(Reader("postfix", "/tls.crt", sub_path=True),))


def test_sub_path_mount_with_the_old_file_is_named_at_once() -> None:
    """Waiting would be in vain."""
    cluster = FakeCluster(ALIVE, answer=shows(OLD_PEM))
    assert (
        told(
            tell(cluster, BY_SUB_PATH, timeout=60),
            "updateStrategy: Restart",
        )
        is Reason.SUB_PATH_MOUNT
    )
    assert cluster.verbs() == ("merge", "execute")


def test_sub_path_mount_with_the_new_file_is_reloaded() -> None:
    """The pod started after the Secret was stored."""
    assert tell(FakeCluster(ALIVE, answer=shows(NEW_PEM)), BY_SUB_PATH) is None


@pytest.mark.parametrize("shown", [Executed(127, "", ""), Executed(126, "", ""), Executed(None, "", NO_CAT)])
def test_image_without_cat_is_reloaded_after_a_fixed_time(shown: Executed) -> None:
    """Images without a shell get their time, and the probe has the last word."""
    cluster = FakeCluster(ALIVE, answer=shows(shown))
    began_at = time.monotonic()
    assert tell(cluster, timeout=0.3) is None
    assert time.monotonic() - began_at >= 0.25
    assert cluster.verbs() == ("merge", "execute", "execute")


@pytest.mark.parametrize("said", [NO_CAT, NO_CAT_CRIO])
def test_container_runtime_refusing_cat_counts_as_an_image_without_it(said: str) -> None:
    """Some runtimes fail the whole exec request instead of the command."""

    def answer(asked: Sequence[str]) -> Executed:
        if asked[0] == "cat":
            raise ApiError(500, "InternalError", said)
        return Executed(0, "", "")

    assert tell(FakeCluster(ALIVE, answer=answer), timeout=0.1) is None


def test_path_unknown_is_reloaded_after_a_fixed_time() -> None:
    """A reload container that does not mount the Secret itself cannot show the file."""
    cluster = FakeCluster(ALIVE, answer=shows())
    assert tell(cluster, replace(POD, readers=(Reader("postfix"),)), timeout=0.1) is None
    assert cluster.verbs() == ("merge", "execute")


def test_failing_command_is_named_with_exit_code_and_output() -> None:
    """The person sees what the server said."""
    said = Executed(1, "", "postfix/postfix-script: fatal: the Postfix mail system is not running\n")
    cluster = FakeCluster(ALIVE, answer=shows(NEW_PEM, command=said))
    assert told(tell(cluster), "`postfix reload`", "exit code 1", "is not running", "postfix-0") is Reason.RELOAD_FAILED


@pytest.mark.parametrize(
    ("read", "found"),
    [
        (replace(POD, ready=False), {}),
        (POD, {"conditions": [{"type": "Ready", "status": "False"}]}),
        (replace(POD, run=f"{POD.uid} containerd://1"), {"containerStatuses": [{"containerID": "containerd://2"}]}),
    ],
)
def test_failing_command_in_a_pod_that_is_starting_is_no_fault_of_its_server(read: PodState, found: Json) -> None:
    """A container that was restarted answers no command before its server is up: the pod is waited for."""
    said = Executed(1, "", "postfix/postlog: fatal: the Postfix mail system is not running\n")
    cluster = FakeCluster(
        {POD_PATH: {"metadata": {"uid": POD.uid}, "status": found}}, answer=shows(NEW_PEM, command=said)
    )
    assert told(tell(cluster, read), "Pod postfix-0 is not ready", "is not running") is Reason.POD_NOT_READY


def test_failing_command_that_is_silent_on_stderr_shows_stdout() -> None:
    """Some programs complain on the wrong stream."""
    cluster = FakeCluster(ALIVE, answer=shows(NEW_PEM, command=Executed(2, "usage: reload", "")))
    assert told(tell(cluster), "usage: reload") is Reason.RELOAD_FAILED


@pytest.mark.parametrize("code", [124, 137, 143])
def test_command_that_does_not_end_is_ended_in_its_pod(code: int) -> None:
    """A hanging command is a failure, not a success, and nothing of it is left to run beside the next one."""
    cluster = FakeCluster(ALIVE, answer=shows(NEW_PEM, command=Executed(code, "", "")))
    assert told(tell(cluster), "did not end within 30 seconds and was ended") is Reason.RELOAD_FAILED


@pytest.mark.parametrize(
    "lacking",
    [
        ApiError(500, "InternalError", f'{CONTAINERD}exec: "timeout": executable file not found in $PATH: unknown'),
        Executed(127, "", "executable file `timeout` not found in $PATH: No such file or directory"),
        Executed(1, "", "BusyBox v1.28.4\n\nUsage: timeout [-t SECS] [-s SIG] PROG ARGS\n"),
    ],
)
def test_image_without_the_means_to_end_a_command_runs_it_all_the_same(lacking: ApiError | Executed) -> None:
    """It is said then that the command goes on."""
    asked_for: list[tuple[str, ...]] = []

    def answer(asked: Sequence[str]) -> Executed:
        if asked[0] == "cat":
            return Executed(0, NEW_PEM, "")
        asked_for.append(tuple(asked))
        if asked[0] != "timeout":
            return Executed(None, "", "")
        if isinstance(lacking, ApiError):
            raise lacking
        return lacking

    found = tell(FakeCluster(ALIVE, answer=answer))
    assert told(found, "did not end within 30 seconds, and goes on", "no `timeout`") is Reason.RELOAD_FAILED
    assert asked_for == [LIMITED, COMMAND]


def test_command_that_ends_with_its_pod_is_no_failed_reload() -> None:
    """A pod that is deleted in mid-command takes the command with it, by SIGTERM."""
    leaving = {POD_PATH: {"metadata": {"uid": POD.uid, "deletionTimestamp": "2026-05-01T12:00:00Z"}}}
    cluster = FakeCluster(leaving, answer=shows(NEW_PEM, command=Executed(143, "", "")))
    assert told(tell(cluster), "deleted") is Reason.POD_NOT_READY


def test_command_that_the_image_lacks_is_named() -> None:
    """A wrong preset shows in the runtime's words."""

    def answer(asked: Sequence[str]) -> Executed:
        if asked[0] == "cat":
            return Executed(0, NEW_PEM, "")
        raise ApiError(
            500, "InternalError", f'{CONTAINERD}exec: "postfix": executable file not found in $PATH: unknown'
        )

    found = tell(FakeCluster(ALIVE, answer=answer))
    assert told(found, "127: exec:", '"postfix": executable file not found in $PATH') is Reason.RELOAD_FAILED


def test_workload_without_command_is_done_when_the_file_is_there() -> None:
    """Servers that look at their files by themselves need no more."""
    cluster = FakeCluster(ALIVE, answer=shows(NEW_PEM))
    assert tell(cluster, of=replace(POSTFIX, daemons=(Daemon("postfix", ()),))) is None
    assert cluster.verbs() == ("merge", "execute")


@pytest.mark.parametrize(("verb", "named"), [("merge", "patch pods"), ("execute", "get and create pods/exec")])
def test_forbidden_request_names_the_permission(verb: str, named: str) -> None:
    """RBAC mistakes end in the status, with the rule to add."""
    cluster = FakeCluster(ALIVE, refuse={verb: ApiError(403, "Forbidden", "no")}, answer=shows(NEW_PEM))
    assert told(tell(cluster), named, "namespace mail") is Reason.FORBIDDEN


@pytest.mark.parametrize("refusal", [ApiError(404, "NotFound", ""), Conflict(409, "Conflict", "uid")])
def test_pod_replaced_meanwhile_is_not_ready(refusal: ApiError) -> None:
    """A namesake must not be told by mistake, and the next look finds it."""
    assert told(tell(FakeCluster(refuse={"merge": refusal})), "replaced") is Reason.POD_NOT_READY


@pytest.mark.parametrize(
    "failure",
    [
        ApiError(500, "InternalError", "error dialing backend"),
        Unreachable("The API server answered 504: error dialing backend"),
        Unreachable("The connection to the container broke: error dialing backend"),
    ],
)
def test_exec_channel_that_fails_is_told_from_an_api_server_that_is_away(failure: Exception) -> None:
    """A kubelet that cannot be reached has a name of its own, in whatever way the API server tells of it."""
    cluster = FakeCluster(ALIVE, refuse={"execute": failure})
    assert told(tell(cluster), "pod postfix-0", "error dialing backend") is Reason.EXEC_UNAVAILABLE
    cluster.refuse["get"] = Unreachable("no route")
    if isinstance(failure, Unreachable):
        with pytest.raises(Unreachable, match="no route"):
            tell(cluster)


def test_pod_gone_in_mid_command_is_not_ready() -> None:
    """Its connection broke because it was deleted, and a namesake of another uid is not the same pod."""
    left: list[dict[str, Json]] = [{}, {POD_PATH: {"metadata": {"uid": "another"}}}]
    cluster = FakeCluster()

    def breaks(_asked: Sequence[str]) -> Executed:
        cluster.objects = left.pop()
        raise Unreachable("The connection to the container broke")

    cluster.answer = breaks
    while left:
        cluster.objects.update(ALIVE)
        assert told(tell(cluster), "replaced") is Reason.POD_NOT_READY
        assert cluster.verbs()[-2:] == ("execute", "get")


def test_unreachable_api_server_is_raised() -> None:
    """The same step is taken again when it answers."""
    with pytest.raises(Unreachable):
        tell(FakeCluster(refuse={"merge": Unreachable("no route")}))


def test_stopping_interrupts_a_long_wait_quickly() -> None:
    """SIGTERM does not wait for a kubelet."""
    stopping = threading.Event()
    timer = threading.Timer(0.3, stopping.set)
    timer.start()
    began_at = time.monotonic()
    with pytest.raises(Interrupted):
        reload_pod(
            FakeCluster(ALIVE, answer=shows(OLD_PEM)),
            "mail",
            ReloadPod(POSTFIX, POD),
            NEW,
            secret_name="mx-tls",
            timeout=60,
            stopping=stopping,
        )
    assert time.monotonic() - began_at < 2
    timer.join()


def test_stopping_keeps_the_command_from_being_run() -> None:
    """Nothing new is begun once the operator stops."""
    stopping = threading.Event()

    def answer(asked: Sequence[str]) -> Executed:
        stopping.set()
        return Executed(0, NEW_PEM, "")

    cluster = FakeCluster(ALIVE, answer=answer)
    with pytest.raises(Interrupted):
        reload_pod(cluster, "mail", ReloadPod(POSTFIX, POD), NEW, secret_name="mx-tls", timeout=60, stopping=stopping)
    assert cluster.verbs() == ("merge", "execute")


@pytest.mark.parametrize("text", ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_text_without_a_certificate_has_no_leaf(text: str) -> None:
    """A half-written or foreign file is just not the one awaited."""
    assert leaf_sha256(text) is None


def test_first_certificate_of_a_chain_is_the_leaf() -> None:
    """RFC 8446 section 4.4.2: the sender's certificate comes first."""
    assert leaf_sha256(NEW_PEM + OLD_PEM) == NEW
    assert OLD != NEW


def test_output_is_made_one_bounded_printable_line() -> None:
    """Escape sequences and floods stay out of conditions."""
    assert printable("\x1b[31mred\x1b[0m\n\tnext\x00 line") == "[31mred [0m next line"
    assert len(printable("x" * 5000)) == 300


def test_output_with_a_private_key_is_withheld() -> None:
    """No key material leaves by way of an error message."""
    assert "MC4C" not in printable("bad key:\n-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----")
