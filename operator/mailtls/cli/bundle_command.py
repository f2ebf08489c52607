"""`mailtls bundle`: everything that helps to find a fault, in one file that holds no key."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mailtls.cli.cluster import Connected, Context, Kubeconfig, Namespace, connected
from mailtls.cli.errors import blind, unusable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mailtls.api.reading.document import Json
    from mailtls.cli.bundle.contents import Contents
    from mailtls.cli.bundle.reading import Reader

_DOCUMENTED: Final = "mailtls"
_STANDARD_OUTPUT: Final = Path("-")
_MOST_PREFLIGHTS: Final = 5
_SHARE_OF_READING: Final = 0.8  # the rest is for removing secrets from what was read
_SHARE_OF_PREFLIGHT: Final = 0.5
_SHARE_OF_ONE: Final = 0.1  # so that ten things that do not answer leave the rest some time


def bundle(
    name: Annotated[str | None, typer.Argument(help="One MailServerTLS; without it all.", show_default=False)] = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write, or -; without it mailtls-bundle-TIME.tar.gz here."),
    ] = None,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    check: Annotated[bool, typer.Option("--preflight/--no-preflight", help="Say what preflight says.")] = True,
    operator_namespace: Annotated[
        str | None, typer.Option(help="Where the operator runs; without it, it is looked for.", show_default=False)
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=5, max=3600, help="Seconds for all of it.")] = 120,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Collect what helps to find a fault: resources, events, pods, the operator's log and metrics. No keys are in it.

    Sends GET requests only. What you may not read, and what does not answer, is listed in the bundle.
    """
    from mailtls.net.effects import SystemClock, within

    if name and everywhere:
        raise unusable("Write a name or -A, not both.")
    now = SystemClock().now()
    file = _file(output, now)
    with connected(context, kubeconfig, namespace) as place, within(timeout):
        wanted = None if everywhere else place.namespace, name
        with within(timeout * _SHARE_OF_READING):
            contents, noted = _collect(place, wanted, operator_namespace, now, timeout, check=check)
        data, missing = contents.archive(now, f"It is {_scope(wanted)}.", noted)
    _write(file, data)
    if missing:
        typer.echo(f"{len(missing)} things are not in it; its missing.txt says which, and why.", err=True)


def _file(output: Path | None, now: "datetime") -> Path:
    """Say where it goes, before anything is read; a file that is there already stays."""
    from mailtls.cli.bundle.contents import folder_name

    file = output or Path(f"{folder_name(now)}.tar.gz")
    if file != _STANDARD_OUTPUT and file.exists():
        raise unusable(f"{file} exists already: name another file with --output.")
    return file


def _write(file: Path, data: bytes) -> None:
    if file == _STANDARD_OUTPUT:
        sys.stdout.buffer.write(data)
        return
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(data)
    except OSError as error:
        raise unusable(f"{file} cannot be written ({error.strerror}).") from None
    typer.echo(f"{file} ({len(data)} bytes). Read it before you give it to somebody.")


def _collect(
    place: Connected,
    wanted: "tuple[str | None, str | None]",
    operator_namespace: str | None,
    now: "datetime",
    seconds: float,
    *,
    check: bool,
) -> "tuple[Contents, Sequence[str]]":
    from mailtls.cli.bundle.contents import Contents
    from mailtls.cli.bundle.operator import add_operator, add_versions
    from mailtls.cli.bundle.reading import LONGEST, Reader
    from mailtls.cli.bundle.resources import add_events, add_resource, add_secrets, found

    namespace, name = wanted
    reader, contents = Reader(place.cluster, min(LONGEST, seconds * _SHARE_OF_ONE)), Contents()
    add_versions(reader, contents)
    resources = found(reader, namespace, name)
    if not reader.answers:
        raise reader.silence or blind(f"The cluster gives no answer that makes sense: {reader.missing[0]}")
    for each in resources:
        add_resource(reader, contents, each, now)
    spaces = sorted({each["metadata"]["namespace"] for each in resources} | ({namespace} if namespace else set()))
    serving: frozenset[str] = frozenset()
    for space in spaces:
        add_events(reader, contents, space)
        own = [each for each in resources if each["metadata"]["namespace"] == space]
        serving |= add_secrets(reader, contents, space, own)
    places = (operator_namespace,) if operator_namespace else (None, place.namespace, _DOCUMENTED)
    add_operator(reader, contents, places)
    if check:
        _add_preflights(reader, contents, place, resources, operator_namespace, serving, seconds * _SHARE_OF_PREFLIGHT)
    return contents, reader.missing


def _scope(wanted: "tuple[str | None, str | None]") -> str:
    namespace, name = wanted
    return f"of {namespace}/{name}" if name else f"of namespace {namespace}" if namespace else "of all namespaces"


def _add_preflights(  # noqa: PLR0917 - what all of them share
    reader: "Reader",
    contents: "Contents",
    place: Connected,
    resources: "Sequence[Json]",
    operator_namespace: str | None,
    serving: frozenset[str],
    seconds: float,
) -> None:
    """Add what preflight says, by reading alone; a bundle is taken where something is wrong, so that it may hang."""
    from mailtls.api.spec import Key
    from mailtls.cli.bundle.reading import ReadingOnly
    from mailtls.cli.bundle.resources import folder_of
    from mailtls.net.effects import within

    for number, each in enumerate(resources):
        key = Key(each["metadata"]["namespace"], each["metadata"]["name"])
        if number >= _MOST_PREFLIGHTS:
            reader.note(f"preflight of {key}", f"only {_MOST_PREFLIGHTS} are made; name the resource to have it")
            continue
        seen = Connected(ReadingOnly(place.cluster, serving), place.namespace)  # type: ignore[arg-type]
        with within(seconds / _MOST_PREFLIGHTS):
            contents.add_text(f"{folder_of(key)}/preflight.txt", _preflight(reader, seen, each, operator_namespace))


def _preflight(reader: "Reader", seen: Connected, resource: "Json", operator_namespace: str | None) -> str:
    from mailtls.cli.output.words import preflight_line
    from mailtls.cli.preflight.checks import preflight
    from mailtls.cli.preflight_command import place_of
    from mailtls.net.resolver import ResolverSettings

    lines, what = [], f"the rest of preflight of {resource['metadata']['name']}"
    try:
        for line in preflight(resource, place_of(seen, operator_namespace, ResolverSettings(), may_write=False)):
            lines.append(f"{preflight_line(line)}\n")  # noqa: PERF401 - those before a failure stay
    except typer.Exit:
        reader.note(what, "the operator's settings make no sense; its Deployment is in the bundle")
    except Exception as problem:  # noqa: BLE001 - whatever ends it, the rest of the bundle is written
        reader.note(what, f"{type(problem).__name__}: {problem}")
    return "".join(lines)
