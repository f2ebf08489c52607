"""`mailtls status`: how the resources of a cluster are, and what stands in their way."""

import sys
from shutil import get_terminal_size
from typing import Annotated

import typer

from mailtls.cli.cluster import Connected, Context, Kubeconfig, Namespace, connected
from mailtls.cli.errors import ExitCode, unusable


def status(
    name: Annotated[
        str | None, typer.Argument(help="One MailServerTLS, with its whole story.", show_default=False)
    ] = None,
    *,
    namespace: Namespace = None,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")] = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show each MailServerTLS and the first condition that is not true; exit with 1 when one is not Ready."""
    if name and everywhere:
        raise unusable("Write a name or -A, not both.")
    with connected(context, kubeconfig, namespace) as place:
        if as_json:
            code = _show_json(place, name, everywhere=everywhere)
        else:
            code = show_one(place, name) if name else _show_all(place, everywhere=everywhere)
    raise typer.Exit(code)


def show_one(place: Connected, name: str) -> ExitCode:
    """Print one resource's story."""
    from mailtls.api.spec import Key
    from mailtls.cli.output.resources import resource_story
    from mailtls.kube.resource_views import find
    from mailtls.net.deadline import SystemClock

    view = find(place.cluster, Key(place.namespace, name))
    if view is None:
        raise unknown(place, name)
    typer.echo(resource_story(view, SystemClock().now(), _width()), nl=False)
    return ExitCode.GOOD if view.is_ready else ExitCode.FAULTY


def _show_json(place: Connected, name: str | None, *, everywhere: bool) -> ExitCode:
    from mailtls.api.spec import Key
    from mailtls.cli.output.resources import resources_json
    from mailtls.kube.resource_views import find, find_all

    views = find_all(place.cluster, None if everywhere else place.namespace) if name is None else ()
    if name is not None:
        view = find(place.cluster, Key(place.namespace, name))
        if view is None:
            raise unknown(place, name)
        views = (view,)
    typer.echo(resources_json(views), nl=False)
    return ExitCode.GOOD if all(view.is_ready for view in views) else ExitCode.FAULTY


def _width() -> int | None:
    """How wide the terminal is; None where the output goes elsewhere, and is not to be cut."""
    return get_terminal_size().columns if sys.stdout.isatty() else None


def unknown(place: Connected, name: str) -> typer.Exit:
    """There is no such resource."""
    return unusable(f"There is no MailServerTLS {name} in namespace {place.namespace}; see mailtls status -A.")


def _show_all(place: Connected, *, everywhere: bool) -> ExitCode:
    from mailtls.cli.output.resources import resource_table
    from mailtls.kube.resource_views import find_all
    from mailtls.net.deadline import SystemClock

    views = find_all(place.cluster, None if everywhere else place.namespace)
    if not views:
        where = "in the cluster" if everywhere else f"in namespace {place.namespace}"
        typer.echo(f"There is no MailServerTLS {where}.", err=True)
        return ExitCode.GOOD
    typer.echo(resource_table(views, SystemClock().now(), with_namespace=everywhere, width=_width()), nl=False)
    return ExitCode.GOOD if all(view.is_ready for view in views) else ExitCode.FAULTY
