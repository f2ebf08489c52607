"""Which mail servers run in a workload, by the images and ports of its pod template; nothing here connects anywhere."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from mailtls.api.presets import PRESETS
from mailtls.api.reading.document import Json
from mailtls.api.workload import UpdateStrategy
from mailtls.cli.targets import KNOWN_PORTS
from mailtls.kube.mounts import certificate_mounts, running_containers
from mailtls.kube.workload import children
from mailtls.reasons.software import Software

_PORTS: Final = {port: spoken for port, spoken in KNOWN_PORTS.items() if spoken[0] != "lmtp"}  # is mostly without TLS
_WORDS: Final = {str(each): each for each in Software if each is not Software.GENERIC} | {"exim4": Software.EXIM}
_ALSO_FOR_OTHERS: Final = frozenset({Software.HAPROXY, Software.NGINX})  # count where a mail port is declared
_BOTH: Final = "docker-mailserver"
_NO_SERVER: Final = ("exporter", "init", "rspamd", "clamav")
_SEPARATORS: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Server:
    """A mail server in a container. `ports` are those to list; none where the preset's are right."""

    container: str
    software: Software
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class MailWorkload:
    """A workload with mail servers; `mounted` says by Secret at which paths their containers mount its tls.crt."""

    kind: str
    name: str
    servers: tuple[Server, ...]
    strategy: UpdateStrategy
    mounted: Mapping[str, tuple[str, ...]]
    volumes: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def mail_workload(kind: str, workload: Json) -> MailWorkload | None:
    """Recognize the mail servers of a workload; None where it has none."""
    pod = workload["spec"]["template"]["spec"]
    servers = tuple(server for each in running_containers(pod) for server in _servers(each))
    if not servers:
        return None
    names = {each.container for each in servers}
    mounted = {secret: _paths(pod, secret, names) for secret in _secrets(pod)}
    is_copying = any(_BOTH in str(each.get("image", "")) for each in running_containers(pod))
    return MailWorkload(
        kind=kind,
        name=workload["metadata"]["name"],
        servers=servers,
        strategy=UpdateStrategy.NONE if is_copying else _strategy(servers),
        mounted={secret: paths for secret, paths in mounted.items() if paths},
        volumes=frozenset(str(each.get("name")) for each in children(pod, "volumes")),
    )


def ports_json(ports: Iterable[int]) -> list[Json]:
    """Write ports as a spec lists them."""
    return [{"port": port, "protocol": _PORTS[port][0], "tlsMode": str(_PORTS[port][1])} for port in ports]


def workload_json(workload: MailWorkload) -> Json:
    """Write a workload as a spec lists it: one server by its preset, several as daemons."""
    strategy: Json = (
        {"updateStrategy": str(workload.strategy)} if workload.strategy is not UpdateStrategy.RELOAD else {}
    )
    head: Json = {"kind": workload.kind, "name": workload.name}
    if len(workload.servers) == 1:
        return head | _server_json(workload.servers[0]) | strategy
    daemons = [{"container": each.container} | _server_json(each) for each in workload.servers]
    return head | strategy | {"daemons": daemons}


def _server_json(server: Server) -> Json:
    ports: Json = {"ports": ports_json(server.ports)} if server.ports else {}
    return {"preset": str(server.software)} | ports


def _servers(container: Json) -> Iterator[Server]:
    image, name = _image(container), str(container["name"])
    declared = tuple(sorted({port for port in _declared(container) if port in _PORTS}))
    if any(word in image or word in name for word in _NO_SERVER):
        return
    if _BOTH in image:
        yield from _all_in_one(name, declared)
        return
    software = _named(image, name, set(declared))
    if software in _ALSO_FOR_OTHERS and not declared:
        return
    if software is not None:
        usual = {port.port for port in PRESETS[software].ports}
        yield Server(name, software, declared if declared and set(declared) != usual else ())
    elif declared:
        yield Server(name, Software.GENERIC, declared)


def _named(image: str, container: str, declared: set[int]) -> Software | None:
    """The server that the image is called after, else the container: one image may hold several servers.

    One whose usual ports are declared comes before others.
    """
    words = (*_SEPARATORS.split(image), *_SEPARATORS.split(container))
    found = [_WORDS[word] for word in words if word in _WORDS]
    fitting = (each for each in found if declared & {port.port for port in PRESETS[each].ports})
    return next(fitting, found[0] if found else None)


def _all_in_one(name: str, declared: tuple[int, ...]) -> Iterator[Server]:
    """docker-mailserver has Postfix and Dovecot in one container, and reloads both by itself."""
    ports = declared or (25, 465, 587, 143, 993)
    yield Server(name, Software.POSTFIX, tuple(port for port in ports if _PORTS[port][0] == "smtp"))
    if others := tuple(port for port in ports if _PORTS[port][0] != "smtp"):
        yield Server(name, Software.DOVECOT, others)


def _image(container: Json) -> str:
    """The last part of an image's name, without registry, tag and digest."""
    return str(container.get("image", "")).partition("@")[0].rsplit("/", 1)[-1].partition(":")[0].lower()


def _declared(container: Json) -> Iterator[int]:
    return (int(each["containerPort"]) for each in children(container, "ports") if each.get("protocol", "TCP") == "TCP")


def _strategy(servers: Iterable[Server]) -> UpdateStrategy:
    """One for all servers of a pod: a restart where one of them cannot be told to read its certificate anew."""
    fixed = [each.software for each in servers if not PRESETS[each.software].reload]
    if not fixed:
        return UpdateStrategy.RELOAD
    return UpdateStrategy.NONE if set(fixed) == {Software.COURIER} else UpdateStrategy.RESTART


def _secrets(pod: Json) -> list[str]:
    volumes = children(pod, "volumes")
    found = [(each.get("secret") or {}).get("secretName") for each in volumes]
    found += [
        (source.get("secret") or {}).get("name")
        for each in volumes
        for source in children(each, "projected", "sources")
    ]
    return sorted({str(name) for name in found if name})


def _paths(pod: Json, secret: str, containers: set[str]) -> tuple[str, ...]:
    mounts = (each for each in certificate_mounts(pod, secret) if each.container in containers)
    return tuple(f"{each.container}:{each.path}" for each in mounts)
