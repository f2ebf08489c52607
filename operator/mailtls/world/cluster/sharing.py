"""Which resources name the same workload: each brings its own certificate in, and each is to be told of the other."""

from collections.abc import Mapping

from mailtls.model.spec import Key


class Sharing:
    """An index of the resources by the workloads that they name. Not safe for threads: its owner holds a lock."""

    def __init__(self) -> None:
        self._workloads: dict[Key, frozenset[str]] = {}
        self._named_by: dict[tuple[str, str], set[Key]] = {}

    def note(self, key: Key, workloads: frozenset[str]) -> frozenset[Key]:
        """Learn what a resource names (`StatefulSet/postfix`); return the others for which that is news."""
        before = self._workloads.pop(key, frozenset())
        if workloads:
            self._workloads[key] = workloads
        concerned: set[Key] = set()
        for each in before ^ workloads:
            named_by = self._named_by.setdefault((key.namespace, each), set())
            (named_by.add if each in workloads else named_by.discard)(key)
            concerned |= named_by - {key}
            if not named_by:
                del self._named_by[key.namespace, each]
        return frozenset(concerned)

    def others(self, key: Key) -> Mapping[str, tuple[str, ...]]:
        """Tell by workload the names of the other resources that name it too; a workload of its own is left out."""
        named = sorted(self._workloads.get(key, ()))
        others = {each: self._named_by[key.namespace, each] - {key} for each in named}
        return {each: tuple(sorted(other.name for other in keys)) for each, keys in others.items() if keys}
