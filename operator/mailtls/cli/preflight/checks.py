"""All checks of one resource, in the order of its story."""

from collections.abc import Iterator

from mailtls.api.reading.document import InvalidSpec, Json
from mailtls.api.reading.spec import parse
from mailtls.api.spec import Desired
from mailtls.cli.preflight import admission, outside, serving
from mailtls.cli.preflight.place import Place
from mailtls.cli.results import Line, bad, good, unseen
from mailtls.kube.interface import ApiError

_NEW = {"uid": "preflight", "generation": 1}


def preflight(resource: Json, place: Place) -> Iterator[Line]:
    """Yield a line for each thing as it is looked at; what the API server refuses to show is a line too."""
    if place.hidden:
        yield unseen("operator", place.hidden)
    yield from _listed(admission.TOPIC, admission.lines(resource, place))
    try:
        desired = parse(_complete(resource, place), place.defaults)
    except InvalidSpec as invalid:
        yield bad("spec", invalid.finding)
        return
    yield good("spec", f"The operator can read it: {_count(desired)}.")
    yield from outside.name_lines(desired, place)
    if not desired.is_external:  # else nothing is ordered
        yield from _listed("CA", outside.ca_lines(desired, place))
        yield from _listed("challenges", outside.challenge_lines(desired, place))
    yield from outside.port_lines(desired, place)
    yield from serving.lines(resource, desired, place)


def _listed(topic: str, lines: Iterator[Line]) -> Iterator[Line]:
    """Say what cannot be checked, instead of ending."""
    try:
        yield from lines
    except ApiError as refusal:
        yield unseen(topic, f"This cannot be checked ({refusal.message}).")


def _complete(resource: Json, place: Place) -> Json:
    """Give a manifest what the API server would give it."""
    created = {"creationTimestamp": place.now.isoformat()}
    given = {name: value for name, value in resource["metadata"].items() if value is not None}
    return resource | {"metadata": {**_NEW, **created, **given}}


def _count(desired: Desired) -> str:
    parts = [(len(desired.dns_names), "name"), (len(desired.workloads), "workload")]
    return ", ".join(f"{number} {noun}" if number == 1 else f"{number} {noun}s" for number, noun in parts)
