"""The CRD as a document: whole, well described, and of one mind with the parser."""

from copy import deepcopy
from enum import StrEnum
from typing import Any

import pytest

from contracts.manifests import INVALID, VALID, Json, crd, fields, schema, sentence, stored, with_defaults
from contracts.snippets import page_text
from mailtls.api.reading.acme import default_acme
from mailtls.api.reading.document import InvalidSpec
from mailtls.api.reading.spec import KEY_SIZES, Defaults, parse
from mailtls.api.spec import Bootstrap, Desired, OnFailure, RotationPolicy
from mailtls.api.status import ConditionType, Truth
from mailtls.api.workload import SignalName, UpdateStrategy, WorkloadKind
from mailtls.issuance.solvers.registry import SOLVERS
from mailtls.issuance.solvers.rfc2136 import TSIG_ALGORITHMS
from mailtls.pki.certificate import KeyAlgorithm
from mailtls.probe.target import Depth, Protocol, ProxyProtocol, Route, TlsMode, TlsPolicy
from mailtls.reasons.software import Software

KEYWORDS = {
    "type", "format", "description", "default", "enum", "required", "properties", "items", "pattern",
    "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
    "x-kubernetes-validations", "x-kubernetes-int-or-string",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type",
}  # fmt: skip
RULE_KEYWORDS = {"rule", "message", "fieldPath", "reason"}
SPEC_FIELDS = list(fields(schema()["properties"]["spec"], "spec"))
ALL_FIELDS = list(fields(schema()))
DEFAULTED = [path for path, node in SPEC_FIELDS if "default" in node and node["default"] != {}]
INSTALLATION = Defaults(
    SOLVERS, default_acme({"server": "letsencrypt", "solvers": [{"http01": {}}]}, "mailtls", SOLVERS)
)
# The parser repairs what has one meaning only, so that an installation's settings may be written that way too.
TOLERANT = {"name-upper-case", "name-trailing-dot", "dns-zone-trailing-dot", "solver-zone-twice", "solvers-empty"}


def kind(node: Json) -> str:
    """The type of a field; Kubernetes lets none be written where a number and a text may stand."""
    return "integer or string" if node.get("x-kubernetes-int-or-string") else str(node["type"])


def _ids(pairs: list[tuple[str, Json]]) -> list[str]:
    return [path or "root" for path, _ in pairs]


@pytest.mark.parametrize(("path", "node"), ALL_FIELDS, ids=_ids(ALL_FIELDS))
def test_field_is_structural_and_described(path: str, node: Json) -> None:
    """Each field has a type, known keywords only, and a description that ends in a full stop."""
    assert set(node) <= KEYWORDS
    assert kind(node) in {"object", "array", "string", "integer", "boolean", "integer or string"}
    assert ("items" in node) is (kind(node) == "array")
    assert set(node.get("required", ())) <= set(node.get("properties", ()))
    assert node["description"][0].isupper()
    assert node["description"].endswith(".")


@pytest.mark.parametrize(("path", "node"), SPEC_FIELDS, ids=_ids(SPEC_FIELDS))
def test_field_of_the_spec_is_bounded(path: str, node: Json) -> None:
    """Each list and text a user writes has a limit, so that rules have a known cost and objects a known size."""
    if kind(node) == "array":
        assert node["maxItems"] <= 100
        assert node["x-kubernetes-list-type"] in {"atomic", "set", "map"}
    if "string" in kind(node):
        assert "enum" in node or node["maxLength"] <= 4096
    if kind(node) == "integer":
        assert "enum" in node or {"minimum", "maximum"} <= set(node)


@pytest.mark.parametrize(("path", "node"), SPEC_FIELDS, ids=_ids(SPEC_FIELDS))
def test_rule_says_what_to_do_instead(path: str, node: Json) -> None:
    """Each rule has a message of one sentence without its full stop, which the parser adds."""
    for rule in node.get("x-kubernetes-validations", ()):
        assert set(rule) <= RULE_KEYWORDS
        assert rule["message"].split()[0] in {"write", "give", "use"} or ", so " in rule["message"]
        assert not rule["message"].endswith(".")


@pytest.mark.parametrize("path", DEFAULTED)
def test_default_is_told_in_the_description(path: str) -> None:
    """`kubectl explain` shows no defaults, so the description does."""
    node = dict(SPEC_FIELDS)[path]
    assert f"Default: {_as_written(node['default'])}." in node["description"]


def _as_written(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case list():
            return f"[{', '.join(map(_as_written, value))}]"
    return str(value)


@pytest.mark.parametrize("manifest", VALID, ids=lambda manifest: manifest.stem)
def test_schema_defaults_change_nothing_for_the_parser(manifest: Any) -> None:
    """A resource means the same before and after the API server has filled in the defaults."""
    bare = stored(manifest)
    filled = with_defaults(schema(), bare)
    assert filled != bare
    assert parse(filled, INSTALLATION) == parse(bare, INSTALLATION)


@pytest.mark.parametrize("path", DEFAULTED)
def test_changed_default_would_be_noticed(path: str) -> None:
    """For each default of the schema some example leaves the field out, so the pin above really holds it."""
    changed = deepcopy(schema())
    node = dict(fields(changed["properties"]["spec"], "spec"))[path]
    node["default"] = _another(node)
    assert any(_read(with_defaults(changed, stored(each))) != parse(stored(each), INSTALLATION) for each in VALID)


def _another(node: Json) -> Any:
    match node:
        case {"enum": [*choices], "default": default}:
            return next((choice for choice in choices if choice != default), "another")
        case {"type": "boolean", "default": default}:
            return not default
        case {"type": "integer", "default": default}:
            return default + 1
        case {"type": "array", "default": default, "items": {"enum": [*choices]}}:
            return [*default, *(choice for choice in choices if choice not in default)]
    return "11m" if node["default"] == "10m" else "another"


def _read(resource: Json) -> Desired | None:
    try:
        return parse(resource, INSTALLATION)
    except InvalidSpec:
        return None


@pytest.mark.parametrize("name", sorted(TOLERANT))
def test_manifest_with_one_meaning_is_read_all_the_same(name: str) -> None:
    """What the schema refuses for clarity's sake, but could be meant in one way only, the parser reads that way."""
    (manifest,) = (each for each in INVALID if each.stem == name)
    assert parse(stored(manifest), INSTALLATION).dns_names == ("mx1.example.com",)


@pytest.mark.parametrize(
    "manifest", [each for each in INVALID if each.stem not in TOLERANT], ids=lambda each: each.stem
)
def test_invalid_manifest_is_refused_by_the_parser_with_the_same_sentence(manifest: Any) -> None:
    """An object that slipped past an older schema ends in the sentence that the schema would have shown."""
    expected = sentence(manifest)
    with pytest.raises(InvalidSpec) as refusal:
        parse(stored(manifest), INSTALLATION)
    if _is_from_a_rule(expected):
        assert refusal.value.finding.message == f"{expected}."


def _is_from_a_rule(expected: str) -> bool:
    messages = {rule["message"] for _, node in ALL_FIELDS for rule in node.get("x-kubernetes-validations", ())}
    return expected.partition(": ")[2] in messages


def test_each_rule_of_the_schema_has_an_invalid_example() -> None:
    """No rule stands in the CRD that no manifest has been seen to break."""
    shown = {sentence(manifest).partition(": ")[2] for manifest in INVALID}
    rules = {rule["message"] for _, node in ALL_FIELDS for rule in node.get("x-kubernetes-validations", ())}
    assert rules <= shown


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("spec.workloads[].preset", Software),
        ("spec.workloads[].daemons[].preset", Software),
        ("spec.workloads[].daemons[].signal", SignalName),
        ("spec.workloads[].reload.signal", SignalName),
        ("spec.workloads[].kind", WorkloadKind),
        ("spec.workloads[].updateStrategy", UpdateStrategy),
        ("spec.rollout.onFailure", OnFailure),
        ("spec.bootstrap", Bootstrap),
        ("spec.workloads[].ports[].protocol", Protocol),
        ("spec.workloads[].ports[].proxyProtocol", ProxyProtocol),
        ("spec.workloads[].ports[].tlsMode", TlsMode),
        ("spec.workloads[].ports[].tlsPolicy", TlsPolicy),
        ("spec.probe.from[]", Route),
        ("spec.probe.depth", Depth),
        ("spec.privateKey.algorithm", KeyAlgorithm),
        ("spec.privateKey.rotationPolicy", RotationPolicy),
    ],
)
def test_words_of_the_schema_are_those_of_the_model(path: str, words: type[StrEnum]) -> None:
    """The schema allows neither more nor fewer words than the model knows."""
    assert set(dict(SPEC_FIELDS)[path]["enum"]) == set(words)


def test_numbers_and_algorithms_of_the_schema_are_those_of_the_parser() -> None:
    """Key sizes, TSIG algorithms and condition states are listed in the schema as the code knows them."""
    nodes = dict(ALL_FIELDS)
    assert set(nodes[".spec.privateKey.size"]["enum"]) == {size for sizes in KEY_SIZES.values() for size in sizes}
    algorithms = nodes[".spec.acme.solvers[].dns01.rfc2136.tsigAlgorithm"]["enum"]
    assert tuple(algorithms) == TSIG_ALGORITHMS
    assert set(nodes[".status.conditions[].status"]["enum"]) == set(Truth)
    assert all(kind in nodes[".status.conditions"]["description"] for kind in ConditionType)


def test_minimum_has_six_lines() -> None:
    """A whole resource, with the workload that serves it, takes six lines."""
    (minimum,) = (manifest for manifest in VALID if manifest.stem == "minimum")
    assert len(minimum.read_text(encoding="utf-8").splitlines()) == 6


def test_names_and_columns_are_those_of_the_design() -> None:
    """Short name, category, scope, status subresource and printer columns are as documented."""
    spec = crd()["spec"]
    (version,) = spec["versions"]
    assert (spec["names"]["shortNames"], spec["names"]["categories"], spec["scope"]) == (
        ["mst"],
        ["mail"],
        "Namespaced",
    )
    assert version["subresources"] == {"status": {}}
    columns = [column["name"] for column in version["additionalPrinterColumns"]]
    assert columns == ["Ready", "Reason", "Host", "Expires", "Renews", "Served", "Age"]


def test_columns_of_times_to_come_are_strings() -> None:
    """A column of type `date` would show a time to come as <invalid>."""
    (version,) = crd()["spec"]["versions"]
    types = {column["name"]: column["type"] for column in version["additionalPrinterColumns"]}
    assert (types["Expires"], types["Renews"]) == ("string", "string")


def test_every_provider_has_a_schema_and_a_page_and_every_schema_a_provider() -> None:
    """What the registry of solvers can read, users can write and look up, and nothing else."""
    solver = schema()["properties"]["spec"]["properties"]["acme"]["properties"]["solvers"]["items"]["properties"]
    dns = {name: node for name, node in solver["dns01"]["properties"].items() if node["type"] == "object"}
    by_dns = {f"dns01.{name}" for name in dns}
    others = set(solver) - {"selector", "dns01"}
    assert {each.name for each in SOLVERS.providers} == by_dns | others
    for provider in SOLVERS.providers:
        assert provider.name.rpartition(".")[2] in page_text(provider.page)
