"""Whatever stands in a resource, reading it ends in a value or in one sentence."""

import json
from contextlib import suppress
from copy import deepcopy
from datetime import timedelta
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from contracts.manifests import VALID, stored
from mailtls.api.reading.acme import default_acme
from mailtls.api.reading.document import InvalidSpec
from mailtls.api.reading.spec import Defaults, parse
from mailtls.hostname import certificate_name
from mailtls.issuance.solvers.registry import SOLVERS
from mailtls.times import format_duration, parse_duration

Json = dict[str, Any]

INSTALLATION = Defaults(
    SOLVERS, default_acme({"server": "letsencrypt", "solvers": [{"http01": {}}]}, "mailtls", SOLVERS)
)
WORDS = st.sampled_from(
    [
        "",
        "mx1.example.com",
        "*.example.com",
        "letsencrypt",
        "https://[",
        "1h",
        "ca",
        "ß.de",
        "Reload",
        "\ud800",
        "9" * 300,
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | WORDS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
EXAMPLES = [stored(manifest) for manifest in VALID if manifest.stem != "a-hundred-names"]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List where values stand in a document."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, member in members for place in places(member, (*path, name)))]


PLACES = [(number, place) for number, document in enumerate(EXAMPLES) for place in places(document) if place]


def read(resource: Json) -> None:
    """Read the resource, and check the sentence if it is refused."""
    try:
        parse(resource, INSTALLATION)
    except InvalidSpec as refusal:
        message = refusal.finding.message
        assert message.startswith(("metadata", "spec"))
        assert message.endswith(".")
        assert message.isprintable()


@given(place=st.sampled_from(PLACES), value=VALUES)
def test_example_with_one_value_replaced_is_read_or_refused_in_a_sentence(place: tuple[int, Any], value: Any) -> None:
    """Any value in any place of a good resource raises nothing but `InvalidSpec`."""
    number, path = place
    document: Any = deepcopy(EXAMPLES[number])
    parent = document
    for name in path[:-1]:
        parent = parent[name]
    parent[path[-1]] = value
    read(document)


@given(metadata=VALUES, spec=VALUES)
@example(metadata=None, spec=None)
def test_object_of_any_shape_is_read_or_refused_in_a_sentence(metadata: Any, spec: Any) -> None:
    """Not even the shape of metadata and spec is taken for granted."""
    read({"metadata": metadata, "spec": spec})


@given(settings=st.dictionaries(st.sampled_from(["server", "email", "solvers", "caBundle"]), VALUES))
def test_settings_of_any_shape_are_read_or_refused(settings: Json) -> None:
    """The installation's authority comes from people, too."""
    with suppress(InvalidSpec):
        default_acme(settings, "mailtls", SOLVERS)


@given(
    text=st.text(max_size=30) | st.from_regex(r"(\*\.)?([a-zA-Zäßйω0-9*-]{1,5}\.){1,4}[a-zé]{2,5}\.?", fullmatch=True)
)
def test_name_once_normalised_stays_as_it_is(text: str) -> None:
    """What is read from a stored certificate or a normalised spec is the same name."""
    try:
        name = certificate_name(text)
    except ValueError:
        return
    assert name.isascii()
    assert name == name.lower()
    assert certificate_name(name) == name


@given(seconds=st.integers(min_value=0, max_value=400 * 86400))
def test_duration_survives_writing_and_reading(seconds: int) -> None:
    """What is written for people is read as the same duration."""
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


def test_examples_are_json() -> None:
    """The documents that are mutated are what an API server could send."""
    assert json.loads(json.dumps(EXAMPLES)) == EXAMPLES
