"""Preflight's own look at the schema agrees with the examples, and takes anything that YAML can hold."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.manifests import INVALID, VALID, stored
from mailtls.cli.preflight.admission import faults

PORT = {"port": 25, "tlsMode": "StartTLS"}
WORKLOAD = {"kind": "StatefulSet", "name": "postfix", "preset": "postfix", "ports": [PORT]}
GOOD = {"dnsNames": ["mx1.example.com"], "workloads": [WORKLOAD]}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["dnsNames", "acme", "workloads", "x"]), inner),
)


def changed(place: str, value: Any) -> dict[str, Any]:
    """A good spec with something else at a place; None takes it away."""
    spec = deepcopy(GOOD)
    *way, last = place.split(".")
    node: Any = spec
    for step in way:
        node = node[int(step) if step.isdecimal() else step]
    node[int(last) if last.isdecimal() else last] = value
    return spec


@pytest.mark.parametrize("manifest", VALID, ids=lambda file: file.stem)
def test_valid_manifest_fits(manifest: Path) -> None:
    """What the API server takes is not refused before."""
    assert faults(stored(manifest)["spec"]) == ()


@pytest.mark.parametrize("name", ["key-algorithm-unknown", "port-too-high", "names-missing", "domains-many"])
def test_manifest_against_the_schema_is_refused(name: str) -> None:
    """Whatever needs no rule is found without the API server."""
    (manifest,) = (file for file in INVALID if file.stem == name)
    assert faults(stored(manifest)["spec"])


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("bogus", 1, "spec.bogus is no field: it is one of dnsNames"),
        ("workloads.0.bogus", 1, "spec.workloads[0].bogus is no field"),
        ("workloads.0.ports.0.tlsMode", "Maybe", "spec.workloads[0].ports[0].tlsMode is «Maybe», but must be one of"),
        ("workloads.0.ports.0.port", 0, "spec.workloads[0].ports[0].port is 0, but must be from 1 to 65535."),
        ("workloads.0.ports.0.port", True, "spec.workloads[0].ports[0].port must be of type integer."),
        ("workloads.0.kind", None, "spec.workloads[0].kind is missing."),
        ("dnsNames", [], "spec.dnsNames has 0 entries, but must have 1 to 100."),
        ("dnsNames.0", "x" * 300, "spec.dnsNames[0] has 300 characters, but must have 1 to 253."),
        ("dnsNames", "mx1.example.com", "spec.dnsNames must be of type array."),
        ("workloads.0.name", "A_B", "spec.workloads[0].name is «A_B», which does not fit"),
        ("workloads.0.name", "postfix\n", "spec.workloads[0].name is «postfix"),
    ],
)
def test_fault_is_said_with_its_place(place: str, value: Any, words: str) -> None:
    """One sentence for each, and none for what is right."""
    assert faults(GOOD) == ()
    assert [fault.startswith(words) for fault in faults(changed(place, value))] == [True]


@given(ANYTHING)
def test_anything_fits_or_is_refused_in_sentences(value: Any) -> None:
    """Never an exception, and never without end."""
    found = faults(value)
    assert len(found) <= 20
    assert all(fault.endswith(".") for fault in found)


@pytest.mark.parametrize(("amount", "said"), [(2, ()), ("10%", ()), (True, ("spec.rollout.canary must be of type",))])
def test_number_or_share_is_either_of_the_two(amount: Any, said: tuple[str, ...]) -> None:
    """The schema names no type there, but says so in Kubernetes' own way."""
    found = faults({**GOOD, "rollout": {"canary": amount}})
    assert len(found) == len(said)
    assert all(
        fault.startswith(start) and "integer or string" in fault for fault, start in zip(found, said, strict=True)
    )
