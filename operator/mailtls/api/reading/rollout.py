"""Reads how a certificate comes into pods: the workloads and their daemons, and `spec.rollout`."""

import re
from datetime import timedelta
from typing import Final

from mailtls.api.presets import PRESETS, Preset
from mailtls.api.reading.acme import object_name
from mailtls.api.reading.document import Node, duration
from mailtls.api.reading.probe import ports_listed
from mailtls.api.resource import APPROVE, PAUSE_ROLLOUT
from mailtls.api.spec import ONE, Amount, Approval, OnFailure, Rollout
from mailtls.api.windows import LONGEST, SHORTEST, Window, read_schedule, read_zone
from mailtls.api.workload import SETTLE_TIME, Daemon, Signal, SignalName, UpdateStrategy, Workload, WorkloadKind
from mailtls.probe.target import Port
from mailtls.reasons.software import Software

MOST_WORKLOADS: Final = 32
MOST_DAEMONS: Final = 8
_SETTLE_TIMES: Final = (timedelta(seconds=1), timedelta(minutes=5))
_RELOADS: Final = ("command", "signal", "process")
_PROCESS: Final = re.compile(r"[A-Za-z0-9._:@+-]+")
_PROCESS_SENTENCE: Final = "write the name of a program such as master, without its folder"
_SHORT_FORM: Final = ("preset", "reload", "ports")


def read_workloads(node: Node) -> tuple[Workload, ...]:
    """Read the workloads, each of which is listed once; raises `InvalidSpec`."""
    workloads: dict[str, Workload] = {}
    for item in node.items(MOST_WORKLOADS):
        workload = _workload(item)
        if str(workload) in workloads:
            raise node.refused(
                "two entries name one workload, so write it once, with daemons: [{container: postfix, preset: postfix},"
                " {container: dovecot, preset: dovecot}]"
            )
        workloads[str(workload)] = workload
    return tuple(workloads.values())


def _workload(node: Node) -> Workload:
    strategy, settle = node.at("updateStrategy"), node.at("settleTime")
    how = strategy.choice(UpdateStrategy) if strategy.is_given else UpdateStrategy.RELOAD
    return Workload(
        kind=node.at("kind").choice(WorkloadKind),
        name=object_name(node.at("name")),
        update_strategy=how,
        daemons=_daemons(node, how) if node.at("daemons").is_given else (_only_daemon(node, how),),
        settle_time=duration(settle, *_SETTLE_TIMES) if settle.is_given else SETTLE_TIME,
    )


def _only_daemon(node: Node, how: UpdateStrategy) -> Daemon:
    """Read the short form, for pods with one daemon."""
    reload, preset = node.at("reload"), node.at("preset")
    if reload.is_given and how is not UpdateStrategy.RELOAD:
        raise reload.refused("the command would never run, so remove reload, or set updateStrategy to Reload")
    software = preset.choice(Software) if preset.is_given else Software.POSTFIX
    command, signal = _reload(reload, PRESETS[software], how)
    if how is UpdateStrategy.RELOAD and not (command or signal):
        raise reload.refused(PRESETS[software].no_reload)
    ports = _ports(node.at("ports"), PRESETS[software])
    return Daemon(str(software), ports, command, _container(reload.at("container")), signal, _known(software))


def _known(software: Software) -> Software | None:
    return software if software is not Software.GENERIC else None


def _daemons(node: Node, how: UpdateStrategy) -> tuple[Daemon, ...]:
    listed = node.at("daemons")
    if any(node.at(name).is_given for name in _SHORT_FORM):
        raise listed.refused(
            "each daemon has a preset, a command and ports of its own, so move preset, reload and ports into the"
            " entries of daemons"
        )
    items = listed.items(MOST_DAEMONS)
    if not items:
        raise listed.refused("list one daemon at least, or remove daemons")
    if how is not UpdateStrategy.RELOAD and any(item.at(name).is_given for item in items for name in _RELOADS):
        raise listed.refused(
            "nothing would be reloaded, so remove command and signal from daemons, or set updateStrategy to Reload"
        )
    daemons = tuple(_daemon(item, how) for item in items)
    if how is UpdateStrategy.RELOAD and not all(daemon.command or daemon.signal for daemon in daemons):
        raise listed.refused(
            "a daemon has no command, and its preset has none either, so give it a command, or set updateStrategy to"
            " Restart"
        )
    numbers = [port.port for daemon in daemons for port in daemon.ports]
    if len(set(numbers)) < len(numbers):
        raise listed.refused(
            "two daemons of a pod cannot have the same port, so list for each the ports that it listens on"
        )
    return daemons


def _daemon(node: Node, how: UpdateStrategy) -> Daemon:
    software, name = node.at("preset").choice(Software), node.at("name")
    command, signal = _reload(node, PRESETS[software], how)
    return Daemon(
        name=object_name(name, 63) if name.is_given else str(software),
        ports=_ports(node.at("ports"), PRESETS[software]),
        command=command,
        container=object_name(node.at("container"), 63),
        signal=signal,
        software=_known(software),
    )


def _container(node: Node) -> str | None:
    return object_name(node, 63) if node.is_given else None


def _reload(node: Node, preset: Preset, how: UpdateStrategy) -> tuple[tuple[str, ...], Signal | None]:
    """Read a command or a signal, the preset's command where neither is given; nothing where nothing is reloaded."""
    words = tuple(word.argument(4096) for word in node.at("command").items(64))
    signal, process = node.at("signal"), node.at("process")
    if signal.is_given is not process.is_given:
        raise node.refused("a signal goes to a process, so give signal and process together")
    if words and signal.is_given:
        raise node.refused("a server gets a command or a signal, so remove one of the two")
    if how is not UpdateStrategy.RELOAD:
        return (), None
    if signal.is_given:
        return (), Signal(signal.choice(SignalName), process.matching(_PROCESS, _PROCESS_SENTENCE, 64))
    return words or preset.reload, None


def _ports(node: Node, preset: Preset) -> tuple[Port, ...]:
    ports = ports_listed(node)
    if not ports and not preset.ports:
        raise node.refused(
            "the ports of a generic server are not known, so list them, such as {port: 25, tlsMode: StartTLS}"
        )
    return ports or preset.ports


MOST_WINDOWS: Final = 10
LONGEST_FINGERPRINT: Final = 95  # of SHA-256, in hexadecimal with colons
_HOUR: Final = timedelta(hours=1)
_MOST_PODS: Final = 10_000
_SHARE: Final = re.compile("([1-9][0-9]?|100)%")


def rollout(node: Node) -> Rollout:
    """Read when and how pods are brought the certificate; raises `InvalidSpec`."""
    timeout, urgent, approval = node.at("timeout"), node.at("urgentBefore"), node.at("approval")
    on_failure, usual = node.at("onFailure"), Rollout()
    return Rollout(
        timeout=duration(timeout, timedelta(seconds=10), 24 * _HOUR) if timeout.is_given else usual.timeout,
        canary=_amount(node.at("canary")),
        max_unavailable=_amount(node.at("maxUnavailable")),
        on_failure=on_failure.choice(OnFailure) if on_failure.is_given else usual.on_failure,
        windows=tuple(map(_window, node.at("windows").items(MOST_WINDOWS))),
        urgent_before=duration(urgent, timedelta(), 8760 * _HOUR) if urgent.is_given else usual.urgent_before,
        approval=approval.choice(Approval) if approval.is_given else usual.approval,
    )


def _amount(node: Node) -> Amount:
    """Read a number of pods, or a share of them; one where it is absent."""
    if not node.is_given:
        return ONE
    if isinstance(node.value, int) and not isinstance(node.value, bool) and 1 <= node.value <= _MOST_PODS:
        return Amount(node.value)
    if isinstance(node.value, str) and _SHARE.fullmatch(node.value):
        return Amount(int(node.value.removesuffix("%")), is_share=True)
    raise node.refused(f"write a number of pods from 1 to {_MOST_PODS}, or a share from 1% to 100% such as 10%")


def _window(node: Node) -> Window:
    zone = node.at("timeZone")
    return Window(
        schedule=node.at("schedule").read(read_schedule, 100),
        duration=duration(node.at("duration"), SHORTEST, LONGEST),
        zone=zone.read(read_zone, 64) if zone.is_given else "UTC",
    )


def is_paused(annotations: Node) -> bool:
    """Whether a person holds the rollout back: by any value, as one who writes `yes` means it too, but `false`."""
    value = annotations.at(PAUSE_ROLLOUT).value
    return isinstance(value, str) and value.strip().lower() != "false"


def approved(annotations: Node) -> str:
    """Return how the fingerprint of the approved certificate begins, in lower case without colons; else empty."""
    value = annotations.at(APPROVE).value
    if not isinstance(value, str) or len(value.strip()) > LONGEST_FINGERPRINT:
        return ""
    return value.strip().replace(":", "").lower()
