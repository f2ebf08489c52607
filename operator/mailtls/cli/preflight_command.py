"""`mailtls preflight`: what would go wrong with manifests, before they are applied."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
import yaml

from mailtls.api.reading.document import Json
from mailtls.api.resource import GROUP
from mailtls.cli.cluster import Connected, Context, Kubeconfig, Namespace, connected
from mailtls.cli.errors import unusable
from mailtls.reasons.quoting import shorten

if TYPE_CHECKING:
    from mailtls.api.reading.spec import Defaults
    from mailtls.cli.preflight.place import Place
    from mailtls.kube.rights import Installation
    from mailtls.net.resolver import ResolverSettings

_DOCUMENTED = "mailtls"  # where docs/how-to/install.md has it installed
_STANDARD_INPUT = Path("-")
_ASSUMED = (
    "No operator was looked at, so what a manifest leaves out is taken as an installation with acme.server letsencrypt "
    "and an http01 solver would fill it in."
)


def preflight(
    file: Annotated[
        Path | None, typer.Argument(help="Manifests in YAML, or - for standard input.", show_default=False)
    ] = None,
    *,
    filename: Annotated[
        Path | None, typer.Option("--filename", "-f", help="The same as FILE, as kubectl has it.", show_default=False)
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Leave the cluster out.")] = False,
    write_test: Annotated[
        bool, typer.Option("--write-test", help="Also add a record for DNS-01, and remove it again.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")] = False,
    resolver: Annotated[
        list[str] | None, typer.Option(help="Resolver to ask, such as 127.0.0.1.", show_default=False)
    ] = None,
    operator_namespace: Annotated[
        str | None, typer.Option(help="Where the operator runs; without it, it is looked for.", show_default=False)
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Say what would go wrong with MailServerTLS manifests: DNS, CAA, CA, challenges, ports, Secret, mounts, rights.

    Nothing is changed: the API server is asked by a dry run, DNS servers by an update without records.
    """
    from mailtls.net.resolver import Resolver, ResolverSettings

    settings = ResolverSettings(tuple(resolver or ()))
    named = [each for each in (file, filename) if each is not None]
    if len(named) != 1:
        raise unusable("Name one file, or - for standard input: mailtls preflight mx.yaml")
    try:
        Resolver(settings)
        text = _read(named[0])
        read_manifests(text, "default")  # a file that makes no sense is said to, also where there is no cluster
    except (ValueError, OSError) as problem:
        raise unusable(problem) from None
    place = nullcontext(None) if offline else connected(context, kubeconfig, namespace)
    with place as there:
        around = place_of(there, operator_namespace, settings, may_write=write_test)
        _look(text, around, namespace or (there.namespace if there else "default"), strict=strict)


def _look(text: str, place: "Place", namespace: str, *, strict: bool) -> None:
    from mailtls.cli.output.words import preflight_line, preflight_summary
    from mailtls.cli.preflight.checks import preflight as check
    from mailtls.cli.results import exit_code

    if place.installation is None:
        typer.echo(_ASSUMED)
    lines = []
    for resource in read_manifests(text, namespace):
        typer.echo(f"{resource['metadata']['namespace']}/{resource['metadata']['name']}")
        for line in check(resource, place):
            typer.echo(preflight_line(line))
            sys.stdout.flush()
            lines.append(line)
    typer.echo(preflight_summary(lines))
    raise typer.Exit(exit_code(lines, strict=strict))


def place_of(
    there: Connected | None, operator_namespace: str | None, resolver: "ResolverSettings", *, may_write: bool
) -> "Place":
    """Where a preflight looks: the cluster, the operator in it and its settings."""
    from mailtls.cli.preflight.place import Place
    from mailtls.kube.interface import ApiError
    from mailtls.net.effects import SystemClock

    found, hidden = None, ""
    try:
        found = _installation(there, operator_namespace) if there else None
    except ApiError as refusal:
        if not refusal.is_forbidden:
            raise
        hidden = _hidden(operator_namespace, refusal.message)
    return Place(
        now=SystemClock().now(),
        cluster=there.cluster if there else None,
        installation=found,
        defaults=_defaults(found),
        resolver=resolver,
        may_write=may_write,
        hidden=hidden,
    )


def _installation(there: Connected, operator_namespace: str | None) -> "Installation | None":
    """Look in all namespaces; who may not has the own one looked into, and the one of the documentation."""
    from mailtls.kube.interface import ApiError
    from mailtls.kube.rights import find_installation

    try:
        return find_installation(there.cluster, operator_namespace)
    except ApiError as refusal:
        if not refusal.is_forbidden or operator_namespace is not None:
            raise
        for namespace in dict.fromkeys((there.namespace, _DOCUMENTED)):
            with suppress(ApiError):
                if (found := find_installation(there.cluster, namespace)) is not None:
                    return found
        raise


def _hidden(operator_namespace: str | None, refusal: str) -> str:
    if operator_namespace is None:
        todo = "name the one where it runs with --operator-namespace, or leave the cluster out with --offline"
        return f"You may not look for the operator in all namespaces: {todo} ({refusal})."
    todo = "ask for the right to list its Deployments there, or leave the cluster out with --offline"
    return f"You may not look for the operator in namespace {operator_namespace}: {todo} ({refusal})."


def _defaults(found: "Installation | None") -> "Defaults":
    """Take what the operator gives to resources; without one, what the chart gives it."""
    from mailtls.controller.composition import defaults_of
    from mailtls.settings import InvalidSettings, Settings

    if found is None:
        return defaults_of(Settings("mailtls", "", acme_server="letsencrypt", acme_solvers=({"http01": {}},)))
    try:
        return defaults_of(Settings.from_environment(found.environment))
    except InvalidSettings as invalid:
        raise unusable(f"The operator in namespace {found.namespace} has odd settings: {invalid}") from None


def _read(file: Path) -> str:
    if file == _STANDARD_INPUT:
        return sys.stdin.read()
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{file} is no UTF-8 text.") from None
    except OSError as error:
        raise OSError(f"{file} cannot be read ({error.strerror}).") from None


_KIND: Final = "MailServerTLS"
_MOST: Final = 1000
_MOST_VALUES: Final = 200_000  # of all resources; an API server takes three megabytes of one at most


class InvalidManifest(ValueError):
    """The file cannot be read as manifests; the text is the sentence to show."""


def read_manifests(text: str, namespace: str) -> tuple[Json, ...]:
    """Return the resources in a text of YAML or JSON, Lists unpacked; others are left out."""
    try:
        documents = list(yaml.safe_load_all(text))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidManifest(f"This is no YAML: {shorten(' '.join(str(error).split()))}.") from None
    found = [_placed(each, namespace) for document in documents[:_MOST] for each in _unpacked(document)]
    if not found:
        raise InvalidManifest(f"There is no {_KIND} in it.")
    _refuse_a_bomb(found)
    return tuple(found)


def _refuse_a_bomb(resources: Iterable[Json]) -> None:
    """Refuse what aliases make larger than any memory: each of them counts as often as it stands somewhere."""
    waiting: list[Any] = list(resources)
    count = 0
    while waiting:
        value = waiting.pop()
        count += 1
        if count > _MOST_VALUES:
            raise InvalidManifest(f"It holds more than {_MOST_VALUES} values, with each YAML alias written out.")
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _unpacked(document: Any) -> Iterator[Json]:
    if not isinstance(document, dict):
        return
    items = document.get("items")
    for each in items if isinstance(items, list) else [document]:
        if isinstance(each, dict) and each.get("kind") == _KIND:
            if not str(each.get("apiVersion", "")).startswith(f"{GROUP}/"):
                raise InvalidManifest(f"apiVersion of {_KIND} must be {GROUP}/v1alpha1.")
            yield each


def _placed(resource: Json, namespace: str) -> Json:
    metadata = resource.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise InvalidManifest(f"A {_KIND} in it has no metadata.name.")
    return resource | {"metadata": {"namespace": namespace} | metadata}
