"""What a bundle holds of each MailServerTLS: itself, its Secrets without their secrets, workloads, pods, events."""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Final

from mailtls.api.reading.document import Json
from mailtls.api.resource import GROUP, OURS, OWNER, VERSION, labels_of, resource_path, resources_path
from mailtls.api.spec import Key
from mailtls.api.workload import UpdateStrategy, Workload, WorkloadKind
from mailtls.cli.bundle import shapes
from mailtls.cli.bundle.contents import Contents
from mailtls.cli.bundle.reading import Reader
from mailtls.cli.output.resources import resource_story
from mailtls.kube.pairs import path as secret_path
from mailtls.kube.resource_views import view
from mailtls.kube.workload import children
from mailtls.kube.workloads import selector, workload_path

MOST_LISTED: Final = 500
MOST_RESOURCES: Final = 50
MOST_PODS: Final = 100
"""Of one workload."""
MOST_EVENTS: Final = 1000
MOST_LEARNED: Final = 2_000_000
"""Characters of base64 in the Secrets of one namespace; each takes some forty bytes while a bundle is made."""
MOST_KNOWN: Final = 6_000_000
"""The same for all namespaces together."""
_MOST_SECRETS: Final = 200
_MOST_WORKLOADS: Final = 20
_READY: Final = "Ready"
_HEX: Final = re.compile(r"[0-9a-f]{8,64}")


def found(reader: Reader, namespace: str | None, name: str | None) -> list[Json]:
    """Return the resources that are meant; of very many the ones that are not Ready first."""
    if name is not None and namespace is not None:
        one = reader.object(f"MailServerTLS {namespace}/{name}", resource_path(Key(namespace, name)))
        return [one] if one else []
    where = f"namespace {namespace}" if namespace else "all namespaces"
    listed = reader.some(f"the MailServerTLS of {where}", resources_path(namespace), MOST_LISTED)
    listed = [{**each, "apiVersion": f"{GROUP}/{VERSION}", "kind": "MailServerTLS"} for each in listed]
    chosen = sorted(listed, key=_is_ready)[:MOST_RESOURCES]
    if len(listed) > len(chosen):
        left = len(listed) - len(chosen)
        reader.note(f"{left} of the MailServerTLS", f"only {MOST_RESOURCES} are here, those that are not Ready first")
    return sorted(chosen, key=lambda each: (each["metadata"]["namespace"], each["metadata"]["name"]))


def _is_ready(resource: Json) -> bool:
    conditions = children(resource, "status", "conditions")
    return any(each.get("type") == _READY and each.get("status") == "True" for each in conditions)


def add_resource(reader: Reader, contents: Contents, resource: Json, now: datetime) -> None:
    """Add one resource and what belongs to it."""
    key = Key(resource["metadata"]["namespace"], resource["metadata"]["name"])
    folder, spec = folder_of(key), resource.get("spec") or {}
    contents.public.update((key.namespace, key.name, *(str(each) for each in children(spec, "dnsNames"))))
    contents.public.update(_hashes(resource.get("status")))
    contents.add(f"{folder}/resource.json", reader.shaped(f"MailServerTLS {key}", shapes.resource, resource))
    story = reader.shaped(f"the status of {key} for people", lambda each: resource_story(view(each), now), resource)
    contents.add_text(f"{folder}/status.txt", story or "")
    workloads = list(_workloads(reader, key, spec))
    shaped = [reader.shaped("a workload", shapes.workload, each) for each in workloads]
    contents.add(f"{folder}/workloads.json", shaped)
    pods = [pod for each in workloads for pod in _pods(reader, key.namespace, each)]
    contents.add(f"{folder}/pods.json", [reader.shaped("a pod", shapes.pod, each) for each in pods])
    contents.public.update(each["metadata"]["name"] for each in (*workloads, *pods))


def folder_of(key: Key) -> str:
    """Name the folder of a resource."""
    return f"namespaces/{key.namespace}/{key.name}"


def _hashes(value: object) -> Iterator[str]:
    """Yield the fingerprints and serial numbers of a status: they look like secrets, and are public."""
    if isinstance(value, dict):
        for name, each in value.items():
            if isinstance(each, str) and name.endswith(("SHA256", "serialNumber")) and _HEX.fullmatch(each):
                yield each
            else:
                yield from _hashes(each)
    elif isinstance(value, list):
        for each in value:
            yield from _hashes(each)


def _workloads(reader: Reader, key: Key, spec: Json) -> Iterator[Json]:
    for each in children(spec, "workloads")[:_MOST_WORKLOADS]:
        with suppress(KeyError, ValueError, TypeError):
            named = Workload(WorkloadKind(each["kind"]), str(each["name"]), UpdateStrategy.NONE, ())
            workload = reader.object(f"{named} in namespace {key.namespace}", workload_path(key.namespace, named))
            if workload is not None:
                yield {"kind": str(named.kind), **workload}


def _pods(reader: Reader, namespace: str, workload: Json) -> list[Json]:
    name = workload["metadata"]["name"]
    chosen = selector((workload.get("spec") or {}).get("selector") or {})
    if not chosen:  # it would select all pods
        return []
    what = f"the pods of {workload['kind']}/{name} in namespace {namespace}"
    return reader.some(what, f"/api/v1/namespaces/{namespace}/pods", MOST_PODS, {"labelSelector": chosen})


def add_secrets(reader: Reader, contents: Contents, namespace: str, resources: list[Json]) -> frozenset[str]:
    """Add what may be known of the Secrets of a namespace's resources; return the paths of those that serve.

    Their entries are read to be forgotten: where one of them stands somewhere else in the bundle, it is removed.
    """
    place = secret_path(namespace)
    listed = reader.some(f"our Secrets in namespace {namespace}", place, _MOST_SECRETS, {"labelSelector": OURS})
    secrets = {each["metadata"]["name"]: each for each in listed}
    serving = frozenset(_serving_name(each) for each in resources)
    for name in sorted(serving - set(secrets)):
        one = reader.object(f"Secret {name} in namespace {namespace}", secret_path(namespace, name))
        if one is not None:
            secrets[name] = one
    if not _learn(contents, secrets):
        words = "its Secrets, or those of all namespaces, hold too much to remove it from its files"
        reader.note(f"namespace {namespace}", f"{words}; what they hold is removed from other files by its form alone")
        contents.leave_out(f"namespaces/{namespace}/")
    for resource in resources:
        key = Key(namespace, resource["metadata"]["name"])
        owned = {name for name, each in secrets.items() if _owner(each) == labels_of(key)[OWNER]}
        names = sorted((owned | {_serving_name(resource)}) & set(secrets))
        shaped = [reader.shaped(f"Secret {name}", shapes.secret, secrets[name]) for name in names]
        contents.add(f"{folder_of(key)}/secrets.json", shaped)
    return frozenset(secret_path(namespace, name) for name in serving)


def _serving_name(resource: Json) -> str:
    return str((resource.get("spec") or {}).get("secretName") or resource["metadata"]["name"])


def _owner(secret: Json) -> str | None:
    return (secret["metadata"].get("labels") or {}).get(OWNER)


def _learn(contents: Contents, secrets: dict[str, Json]) -> bool:
    """Know what is to be removed; False where that is too much: whoever writes Secrets decides how large they are."""
    values = {value for each in secrets.values() for value in shapes.secret_values(each)}
    size, known = sum(map(len, values)), sum(map(len, contents.known))
    is_bounded = size <= MOST_LEARNED and size + known <= MOST_KNOWN
    contents.known.update(map(_entry, values) if is_bounded else ())
    for name, each in secrets.items():
        contents.public.add(name)
        with suppress(KeyError, TypeError, ValueError):
            facts = shapes.secret(each).get("certificate") or {}
            contents.public.update(
                str(facts[fact]) for fact in ("serialNumber", "sha256", "spkiSha256") if fact in facts
            )
    return is_bounded


def _entry(value: str) -> bytes:
    try:
        return b64decode(value)
    except (Base64Error, ValueError):
        return value.encode()


def add_events(reader: Reader, contents: Contents, namespace: str) -> None:
    """Add the events about MailServerTLS, and all warnings of the namespace's pods and workloads."""
    place, what = f"/api/v1/namespaces/{namespace}/events", f"events in namespace {namespace}"
    ours = reader.some(f"the {what}", place, MOST_EVENTS, {"fieldSelector": "involvedObject.kind=MailServerTLS"})
    warnings = reader.some(f"the warning {what}", place, MOST_EVENTS, {"fieldSelector": "type=Warning"})
    every = {each["metadata"]["name"]: each for each in (*ours, *warnings)}
    shaped = [shapes.event(each) for each in sorted(every.values(), key=shapes.when)]
    contents.add(f"namespaces/{namespace}/events.json", shaped)
