"""The page of rights, made from the roles that the chart renders: the comment above each rule is its documentation."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from contracts.values_page import cell
from mailtls.api.installation import Feature
from mailtls.kube.rights import OF_FEATURES, Right

HEAD: Final = """\
# Rights

What the operator may do, verb by verb: what each is for, and what is lost without it. The chart grants exactly these;
`rbac.create: false` leaves the roles to you. A missing right stops only what needs it: the resource says [`Forbidden`](reasons/Forbidden.md)
and names the verb, or the operator's log does where no resource is concerned. This page is made from the chart's roles
(`charts/mailtls/templates/_rules.tpl`); do not edit it.

## In the namespaces that it serves

A ClusterRole; with `watchNamespaces` a Role in each of these and no ClusterRole for the operator.

"""
_ROLLOUTS: Final = """\

RBAC cannot limit `secrets` to those that resources name: whoever controls the operator's pod can read all Secrets of the namespaces
that it serves. `watchNamespaces` limits these.

### Rollouts of Argo

For workloads with `kind: Rollout` set `rbac.argoRollouts: true`, which grants these too:

"""
_OWN: Final = """\

## In its own namespace

"""
_CLUSTER: Final = """\

It also reads `/api`, as every authenticated client may: there the API server says where it listens, and no resource can make
the operator connect there. Where that is forbidden, only the address of its Service is known.

## In the whole cluster

With `statusPage.enabled: true` alone: a ClusterRoleBinding to `system:auth-delegator`, a role that Kubernetes brings. It allows to
create `tokenreviews` and `subjectaccessreviews`: to ask whom a token belongs to, and what they may see. Without it
[the page](../how-to/status-page.md#in-the-cluster) shows nothing to anybody.

## Switching features off

| value | verbs that are not granted then | what a resource that asks for it says |
| --- | --- | --- |
"""
_PEOPLE: Final = """\

The message names the value. The certificate is still issued and renewed, except with `features.issuance: false`. With
`features.issuance: false` the operator has no right to write a Secret anywhere, nor any right to Secrets in its own namespace
or to `endpointslices`; it serves [certificates from elsewhere](../how-to/external.md). Without `features.exec`, `features.restarts` and
`features.evictions` use `updateStrategy: None`, for servers that watch their files themselves, or that are restarted by other means; what
they serve is still probed.

## For people

| role | verbs on `mailservertls` | who has it |
| --- | --- | --- |
"""
FOOT: Final = """\

They are added to Kubernetes' own roles (aggregation); `rbac.aggregate: false` leaves them out. Whoever may write a resource may
have commands run in pods of its namespace, unless `features.customReloads` or `features.exec` is false, and may have
its workloads restarted.
"""
_COLUMNS: Final = "| resource | verbs | what for | without it |\n| --- | --- | --- | --- |\n"
_SAYS: Final[Mapping[Feature, tuple[str, str, str]]] = {
    # the condition that is False, what asks for the feature, and what is said where no right goes with it
    Feature.ISSUANCE: ("Issued", "no `spec.external`", ""),
    Feature.EXEC: ("RolledOut", "`updateStrategy: Reload`", ""),
    Feature.CUSTOM_RELOADS: ("RolledOut", "a command that is no preset's, or a signal", "none: RBAC knows no commands"),
    Feature.RESTARTS: ("RolledOut", "`updateStrategy: Restart`", ""),
    Feature.EVICTIONS: ("RolledOut", "`updateStrategy: Evict`", ""),
    Feature.SERVICES: ("Verified", "`probe.from` with Service", ""),
    Feature.DOMAINS: ("DomainHealthy", "`spec.domains`", "none: it needs none"),
}
_AGGREGATED: Final = "rbac.authorization.k8s.io/aggregate-to-"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a role, with the comment above it."""

    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    words: str

    @property
    def row(self) -> str:
        """Write it as a row of the page; raises ValueError where the comment says too little."""
        purpose, separator, lost = self.words.partition("; without it: ")
        if not (purpose and separator and lost):
            raise ValueError(f"the rule on {self.resources} needs a comment '...; without it: ...': {self.words!r}")
        resources = ", ".join(f"`{each}`" for each in self.resources)
        return f"| {resources} | {', '.join(self.verbs)} | {cell(purpose)} | {cell(lost)} |\n"


def page(manifest: str, with_rollouts: str) -> str:
    """Return docs/reference/rbac.md, from all objects of the chart, and the same with `rbac.argoRollouts`."""
    served = rules(manifest, "ClusterRole", "mailtls")
    rollouts = [each for each in rules(with_rollouts, "ClusterRole", "mailtls") if each not in served]
    own = rules(manifest, "Role", "mailtls-operator")
    features = "".join(map(_feature, Feature))
    parts = (HEAD, _table(served), _ROLLOUTS, _table(rollouts), _OWN, _table(own))
    return "".join((*parts, _CLUSTER, features, _PEOPLE, _people(manifest), FOOT))


def _table(found: list[Rule]) -> str:
    return _COLUMNS + "".join(each.row for each in found)


def rules(manifest: str, kind: str, name: str) -> list[Rule]:
    """Return the rules of a role, in their order."""
    (text,) = (each for each in manifest.split("\n---\n") if _is(each, kind, name))
    return list(_rules(text.split("\nrules:\n")[1]))


def _is(text: str, kind: str, name: str) -> bool:
    return f"\nkind: {kind}\n" in f"\n{text}" and f"\n  name: {name}\n" in text


def _rules(text: str) -> Iterator[Rule]:
    words: list[str] = []
    for line in text.splitlines():
        if comment := re.fullmatch(r" *# (.*)", line):
            words.append(comment[1])
        elif line.strip():
            (rule,) = yaml.safe_load(line)
            yield Rule(tuple(rule["resources"]), tuple(rule["verbs"]), " ".join(words))
            words = []


def _feature(feature: Feature) -> str:
    condition, asks, none = _SAYS[feature]
    return (
        f"| `features.{feature}: false` | {_taken(OF_FEATURES.get(feature, ())) or none} "
        f"| `{condition}` is False: `FeatureDisabled` ({asks}) |\n"
    )


def _taken(rights: tuple[Right, ...]) -> str:
    """List rights as `get, patch `pods`; create `pods/exec``."""
    verbs: dict[str, list[str]] = {}
    for right in rights:
        verbs.setdefault(right.resource, []).append(right.verb)
    resources: dict[str, list[str]] = {}
    for resource, theirs in verbs.items():
        resources.setdefault(", ".join(theirs), []).append(f"`{resource}`")
    return "; ".join(f"{theirs} {', '.join(named)}" for theirs, named in resources.items())


def _people(manifest: str) -> str:
    documents: list[Any] = [each for each in yaml.safe_load_all(manifest) if each and each["kind"] == "ClusterRole"]
    return "".join(_person(each) for each in documents if _roles(each))


def _person(role: Any) -> str:
    (rule,) = role["rules"]
    *others, last = (f"`{each}`" for each in _roles(role))
    return f"| `{role['metadata']['name']}` | {', '.join(rule['verbs'])} | whoever has {', '.join(others)} or {last} in a namespace |\n"


def _roles(role: Any) -> list[str]:
    labels = role["metadata"]["labels"]
    return [name.removeprefix(_AGGREGATED) for name in labels if name.startswith(_AGGREGATED)]
