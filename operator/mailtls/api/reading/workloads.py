"""Reads the workloads of a `MailServerTLS`: the daemons in their pods, and how these are reloaded."""

import re
from typing import Final

from mailtls.api.presets import PRESETS, Preset
from mailtls.api.reading.acme import object_name
from mailtls.api.reading.document import Node
from mailtls.api.reading.ports import ports_listed
from mailtls.api.workload import Daemon, Signal, SignalName, UpdateStrategy, Workload, WorkloadKind
from mailtls.probe.target import Port
from mailtls.reasons.software import Software

MOST_WORKLOADS: Final = 32
MOST_DAEMONS: Final = 8
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
    strategy = node.at("updateStrategy")
    how = strategy.choice(UpdateStrategy) if strategy.is_given else UpdateStrategy.RELOAD
    return Workload(
        kind=node.at("kind").choice(WorkloadKind),
        name=object_name(node.at("name")),
        update_strategy=how,
        daemons=_daemons(node, how) if node.at("daemons").is_given else (_only_daemon(node, how),),
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
    return Daemon(str(software), ports, command, _container(reload.at("container")), signal)


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
