"""Pods with several daemons: which are reloaded, and how messages call them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from builders.rolling import NEW, NOW, OLD, evidence, pod, progress, seen, state, workload
from mailtls.api.workload import Daemon
from mailtls.kube.workload import PodState, Reader
from mailtls.probe.target import Endpoint, Port, Protocol, TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason
from mailtls.rollout.policy import next_roll, on_its_way
from mailtls.rollout.steps import ReloadPod, RolloutFailed, RollStep
from mailtls.rollout.view import View

SMTP = Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
IMAP = Port(143, TlsMode.START_TLS, TlsPolicy.ENFORCED, Protocol.IMAP)
IMAPS = Port(993, TlsMode.IMPLICIT, TlsPolicy.ENFORCED, Protocol.IMAP)
POSTFIX = Daemon("postfix", (SMTP,), ("postfix", "reload"), "mta")
DOVECOT = Daemon("dovecot", (IMAP, IMAPS), ("doveadm", "reload"), "imap")
BOTH = replace(workload(), daemons=(POSTFIX, DOVECOT))
LATER = timedelta(minutes=1)


def mail(name: str, *, told: str | None = None, ready: bool = True) -> PodState:
    """A pod with Postfix and Dovecot, each in a container of its own."""
    return replace(pod(name, told=told, ready=ready), readers=(Reader("mta", "/tls.crt"), Reader("imap", "/tls.crt")))


def serving(name: str, smtp: str | None, imap: str | None, imaps: str | None) -> list[Endpoint]:
    """What the three ports of a pod are seen to serve."""
    return [seen(name, port, leaf) for port, leaf in ((SMTP, smtp), (IMAP, imap), (IMAPS, imaps))]


def names(step: RollStep) -> list[str]:
    """Who is reloaded, in order, by a step that must be a reload."""
    assert isinstance(step, ReloadPod), step
    return [daemon.name for daemon, _ in step.due]


@pytest.mark.parametrize(
    ("served", "reloaded"),
    [
        ((OLD, OLD, OLD), ["postfix", "dovecot"]),
        ((NEW, OLD, OLD), ["dovecot"]),
        ((NEW, NEW, OLD), ["dovecot"]),
        ((OLD, NEW, NEW), ["postfix"]),
    ],
)
def test_daemon_that_proves_the_certificate_on_all_its_ports_is_not_reloaded(
    served: tuple[str, str, str], reloaded: list[str]
) -> None:
    """As after an attempt that failed between the two, or an operator that was killed there."""
    states, seen_now = [state(mail("p-0", told=NEW), of=BOTH)], evidence(serving("p-0", *served))
    assert names(next_roll(states, seen_now, NEW, progress(retry=True), NOW)) == reloaded


def test_daemon_without_ports_is_reloaded_whenever_another_one_is() -> None:
    """Nothing can be seen of it."""
    of = replace(BOTH, daemons=(POSTFIX, replace(DOVECOT, ports=())))
    step = next_roll([state(mail("p-0"), of=of)], evidence([seen("p-0", SMTP, OLD)]), NEW, progress(), NOW)
    assert names(step) == ["postfix", "dovecot"]


def test_pod_that_is_not_ready_has_all_its_daemons_reloaded() -> None:
    """None of its ports was probed."""
    unready = mail("p-0", ready=False)
    view = View((state(unready, of=BOTH),), {}, NEW, progress(), NOW)
    assert names(view.reload(view.states[0], unready)) == ["postfix", "dovecot"]


def test_second_daemon_with_the_old_certificate_fails_the_canary_by_its_name_and_container() -> None:
    """Postfix of the first pod serves the new one, so a person must not search there."""
    canary = mail("p-0", told=NEW)
    begun = progress().after(ReloadPod(BOTH, canary), None, NOW - LATER)
    seen_now = evidence(serving("p-0", NEW, NEW, OLD), serving("p-1", OLD, OLD, OLD))
    step = next_roll([state(canary, mail("p-1"), of=BOTH)], seen_now, NEW, begun, NOW)
    assert isinstance(step, RolloutFailed)
    assert step.finding.reason is Reason.CANARY_FAILED
    assert step.finding.message.startswith("dovecot in container imap of pod p-0 was reloaded, but port 993 fails")


def test_step_says_what_it_runs_and_where() -> None:
    """Both containers and commands, or only those of the daemon that needs it."""
    assert on_its_way(ReloadPod(BOTH, mail("p-0"))) == (
        "Waits for containers mta and imap of pod p-0 to see the new certificate, then runs `postfix reload`, then "
        "runs `doveadm reload`."
    )
    assert on_its_way(ReloadPod(BOTH, mail("p-0"), frozenset({1}))) == (
        "Waits for container imap of pod p-0 to see the new certificate, then runs `doveadm reload`."
    )
    quiet = replace(workload(), daemons=(replace(POSTFIX, command=()),))
    assert (
        on_its_way(ReloadPod(quiet, pod("p-0"))) == "Waits for container postfix of pod p-0 to see the new certificate."
    )
