"""The page of the resource, made from the CustomResourceDefinition: every field, with what the API server checks."""

from collections.abc import Iterator
from typing import Any, Final

import yaml

from contracts.values_page import BAR, cell
from mailtls.api.resource import (
    ADOPT,
    APPROVE,
    DEEP_REQUEST,
    GROUP,
    MANAGED_BY,
    MANAGER,
    OWNER,
    PAUSE_ROLLOUT,
    Request,
    certificate_annotation,
    restart_annotation,
)
from mailtls.issuance.acme.account_secrets import SCOPE_LABEL
from mailtls.kube.open_orders import FINALIZER
from mailtls.rollout.permission import SHORTEST_APPROVAL

HEAD: Final = """\
# MailServerTLS

Every field of the resource, from its CustomResourceDefinition, which `kubectl explain mst.spec` shows too. This page is made from
`crds/mailservertls.yaml`; do not edit it. For whole manifests see the [examples](../../examples/README.md).

API group and version `mailtls.dev/v1alpha1`, kind `MailServerTLS`, short name `mst`. A field in brackets, as in `workloads[].name`, belongs to
each entry of a list. "Required" means: where the object around it is given.
"""
_ANNOTATIONS: Final = f"""\
## Annotations and labels

Set by you, on a `MailServerTLS`. Each new value of the first three is handled once, and `status` says which was the last:

| annotation | value | what it does |
| --- | --- | --- |
| `{Request.RENEW.annotation}` | any, such as the time | orders a new certificate now |
| `{Request.ROLLBACK.annotation}` | any, such as the time | puts the previous certificate and key back: [operations](../how-to/operations.md#going-back-to-the-certificate-before) |
| `{Request.PROBE.annotation}` | any; one that begins with `{DEEP_REQUEST}` makes the probe deep | probes every port now |
| `{PAUSE_ROLLOUT}` | `"true"` | no further pod is reloaded or replaced while it is there: [rollouts](../how-to/rollouts.md#when-a-rollout-goes-on) |
| `{APPROVE}` | the first {SHORTEST_APPROVAL} or more digits of a certificate's SHA-256 fingerprint | approves this certificate: [rollouts](../how-to/rollouts.md#approval) |

Set by you, on a Secret:

| annotation | value | what it does |
| --- | --- | --- |
| `{ADOPT}` | `"true"` | lets the operator take the Secret over and write it: [operations](../how-to/operations.md#take-a-secret-over) |
| `{ADOPT}` | the SHA-256 fingerprint of a certificate | has the operator accept this certificate, which you put in: [`SecretReplaced`](reasons/SecretReplaced.md) |

Set by the operator, not to be edited. Let admission policies admit them, and let GitOps tools ignore them:

| where | what |
| --- | --- |
| Secrets that it writes | label `{MANAGED_BY}: {MANAGER}`, and annotations `{GROUP}/...` that are not named above |
| Secrets of a resource | also the label `{OWNER}` with the name of the resource |
| Secrets of ACME accounts | also the label `{SCOPE_LABEL}` with the namespace whose account it is |
| `<secretName>-next`, while an order is open | also the finalizer `{FINALIZER}`, until its challenges are removed |
| pods that are reloaded | annotation `{certificate_annotation("<secretName>")}` |
| pod templates of a workload, with `updateStrategy: Restart` | annotation `{restart_annotation("<secretName>")}` |
"""
_TABLE: Final = "| field | type | default | limits | meaning |\n| --- | --- | --- | --- | --- |"
_COLUMNS: Final = "| field | type | meaning |\n| --- | --- | --- |"
_OWN_SECTION: Final = ("spec", "status")


def page(definition: str) -> str:
    """Return docs/reference/resource.md."""
    (version,) = yaml.safe_load(definition)["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    parts = [HEAD, f"{cell(schema['description'])}\n"]
    for top in _OWN_SECTION:
        node = schema["properties"][top]
        parts += list(_top(top, node))
    parts.append(_ANNOTATIONS)
    return "\n".join(parts)


def _top(name: str, node: dict[str, Any]) -> Iterator[str]:
    """Write a section for spec or status: first its plain fields, then one section for each field with others below."""
    yield f"## {name}\n\n{cell(node['description'])}\n"
    required = set(node.get("required", ()))
    table, row = (_TABLE, _row) if name == "spec" else (_COLUMNS, _short_row)
    yield "\n".join([table, *(row(field, child, required) for field, child in node["properties"].items())]) + "\n"
    yield from _rules("", node)
    for field, child in node["properties"].items():
        rows = [row(path, below, needed) for path, below, needed in _below(field, child)]
        if rows:
            yield f"### {name}.{field}\n\n{cell(child['description'])}\n"
            yield "\n".join([table, *rows]) + "\n"
            yield from _rules(field, child)


def _below(path: str, node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], set[str]]]:
    """Yield all fields below one, with which of their siblings are required."""
    inner, path = (node["items"], f"{path}[]") if "items" in node else (node, path)
    for field, child in inner.get("properties", {}).items():
        yield f"{path}.{field}", child, set(inner.get("required", ()))
        yield from _below(f"{path}.{field}", child)


def _row(path: str, node: dict[str, Any], required: set[str]) -> str:
    default = f"`{_plain(node['default'])}`" if "default" in node and node["default"] != {} else ""
    limits = [*(["required"] if path.rpartition(".")[2] in required else []), *_limits(node)]
    return f"| `{path}` | {_type(node)} | {default} | {'; '.join(limits)} | {cell(node.get('description', ''))} |"


def _short_row(path: str, node: dict[str, Any], _: set[str]) -> str:
    return f"| `{path}` | {_type(node)} | {cell(node.get('description', ''))} |"


def _type(node: dict[str, Any]) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "number or percentage"
    kind: str = node["type"]
    if kind == "array":
        return f"list of {_type(node['items'])}s"
    return "time" if node.get("format") == "date-time" else kind


def _limits(node: dict[str, Any]) -> Iterator[str]:
    for unit, least, most in (
        ("", "minimum", "maximum"),
        ("characters", "minLength", "maxLength"),
        ("entries", "minItems", "maxItems"),
    ):
        if least in node or most in node:
            begin, end = node.get(least), node.get(most)
            amount = f"at most {end}" if begin is None else f"at least {begin}" if end is None else f"{begin} to {end}"
            yield f"{amount} {unit}".strip()
    for each in (node, node.get("items", {})):
        if "enum" in each:
            yield "one of " + ", ".join(f"`{_plain(value)}`" for value in each["enum"])
        if "pattern" in each:
            yield f"matches `{each['pattern'].replace('|', BAR)}`"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _rules(path: str, node: dict[str, Any]) -> Iterator[str]:
    """Write what the API server answers to a manifest that breaks a rule, below one field."""
    said = list(dict.fromkeys(_messages(path, node, deep=bool(path))))
    if said:
        yield "The API server refuses what breaks a rule:\n"
        yield "\n".join(f"- {cell(each)}" for each in said) + "\n"


def _messages(path: str, node: dict[str, Any], *, deep: bool) -> Iterator[str]:
    for rule in node.get("x-kubernetes-validations", ()):
        yield f"`{path}`: {rule['message']}" if path else rule["message"]
    if not deep:
        return
    inner, path = (node["items"], f"{path}[]") if "items" in node else (node, path)
    if inner is not node:
        yield from (f"`{path}`: {rule['message']}" for rule in inner.get("x-kubernetes-validations", ()))
    for field, child in inner.get("properties", {}).items():
        yield from _messages(f"{path}.{field}", child, deep=True)
