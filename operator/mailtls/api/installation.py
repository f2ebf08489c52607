"""What an installation decides: which features are off, and which namespaces may order which names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from mailtls.api.presets import PRESETS
from mailtls.api.spec import Desired
from mailtls.api.workload import UpdateStrategy, Workload
from mailtls.probe.target import Route
from mailtls.reasons.reason import Finding, Reason


class Feature(StrEnum):
    """A feature by the name of its Helm value below `features`."""

    ISSUANCE = "issuance"
    EXEC = "exec"
    CUSTOM_RELOADS = "customReloads"
    RESTARTS = "restarts"
    EVICTIONS = "evictions"
    SERVICES = "services"
    DOMAINS = "domains"


_REFUSALS: Final[Mapping[Feature, tuple[str, str]]] = {
    Feature.ISSUANCE: (
        "No certificates are ordered, and no Secrets written",
        "or set spec.external: {} where somebody else writes the Secret",
    ),
    Feature.EXEC: (
        "No command is run in pods",
        "or set updateStrategy: Restart, or None where the server watches its files itself",
    ),
    Feature.CUSTOM_RELOADS: (
        "Only the reload commands of presets are run in pods",
        "or remove the command from workloads where the preset has one of its own",
    ),
    Feature.RESTARTS: ("No workload is restarted", "or set updateStrategy: Reload or None"),
    Feature.EVICTIONS: ("No pod is evicted", "or set updateStrategy: Reload, Restart or None"),
    Feature.SERVICES: ("No Services are probed", "or remove Service from spec.probe.from"),
    Feature.DOMAINS: ("No mail domains are checked", "or remove spec.domains"),
}
_PRESET_RELOADS: Final = frozenset(preset.reload for preset in PRESETS.values() if preset.reload)


def parse_features(text: str) -> "Features":
    """Read what is off, as the chart writes it: names with commas between them; raises ValueError for others."""
    named = {str(feature): feature for feature in Feature}
    names = [name for part in text.split(",") if (name := part.strip())]
    if not set(names) <= named.keys():
        raise ValueError(f"write some of {', '.join(named)}")
    return Features(frozenset(named[name] for name in names))


@dataclass(frozen=True, slots=True)
class Features:
    """Which features are off; none by default."""

    off: frozenset[Feature] = frozenset()

    def refusal(self, feature: Feature) -> Finding | None:
        """Say that a feature is off, by the name of the value that does it, None while it is on."""
        if feature not in self.off:
            return None
        what, remedy = _REFUSALS[feature]
        message = f"{what}: features.{feature} is false in the operator's Helm values. Set it to true, {remedy}."
        return Finding(Reason.FEATURE_DISABLED, message)

    def refusals(self, desired: Desired) -> tuple[Finding, ...]:
        """Return a finding for each feature that a resource uses and that is off."""
        strategies = {workload.update_strategy for workload in desired.workloads}
        is_custom = any(_is_custom(workload) for workload in desired.workloads)
        used = {
            Feature.ISSUANCE: not desired.is_external,
            Feature.EXEC: UpdateStrategy.RELOAD in strategies,
            Feature.CUSTOM_RELOADS: is_custom and Feature.EXEC not in self.off,
            Feature.RESTARTS: UpdateStrategy.RESTART in strategies,
            Feature.EVICTIONS: UpdateStrategy.EVICT in strategies,
            Feature.SERVICES: Route.SERVICE in desired.probe.routes,
            Feature.DOMAINS: bool(desired.domains),
        }
        return tuple(filter(None, (self.refusal(feature) for feature in Feature if used[feature])))

    def reload_refusal(self, workload: Workload) -> Finding | None:
        """Say why no pod of a workload is reloaded; None where it may be."""
        if (off := self.refusal(Feature.EXEC)) is not None:
            return off
        return self.refusal(Feature.CUSTOM_RELOADS) if _is_custom(workload) else None

    def restart_refusal(self, workload: Workload) -> Finding | None:
        """Say why a workload is not restarted, nor one of its pods replaced; None where it may be."""
        off = self.refusal(Feature.RESTARTS)
        if off is None or workload.update_strategy is not UpdateStrategy.RELOAD:
            return off
        message = (
            f"{workload} must be restarted, because a reload does not help or cannot be run, and "
            "features.restarts is false in the Helm values. Set it to true or run kubectl rollout restart yourself."
        )
        return Finding(off.reason, message)


def _is_custom(workload: Workload) -> bool:
    """Whether pods are reloaded by anything but commands of presets; whom a signal goes to is the resource's choice."""
    return any(daemon.signal or daemon.command not in _PRESET_RELOADS for daemon in workload.reloaded)


@dataclass(frozen=True, slots=True)
class AllowedNames:
    """One rule: resources in `namespaces` may order `names`; both are globs, whose `*` stands for dots too."""

    namespaces: tuple[str, ...]
    names: tuple[str, ...]

    def allows(self, namespace: str, name: str) -> bool:
        """Whether this rule lets a namespace have a name, which may be a wildcard."""
        is_theirs = any(fnmatchcase(namespace, glob) for glob in self.namespaces)
        return is_theirs and any(_covers(glob.lower(), name.lower()) for glob in self.names)


def first_refused(rules: Iterable[AllowedNames], namespace: str, names: Iterable[str]) -> str | None:
    """Return the first name that no rule lets the namespace have; without rules all are allowed."""
    known = tuple(rules)
    if not known:
        return None
    return next((name for name in names if not any(rule.allows(namespace, name) for rule in known)), None)


def _covers(glob: str, name: str) -> bool:
    # A wildcard stands for more names than `?` or `[...]` does, so only a glob that begins with `*` covers one.
    is_wide_enough = not name.startswith("*") or glob.startswith("*")
    return is_wide_enough and fnmatchcase(name, glob)
