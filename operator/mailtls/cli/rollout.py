"""Commands about a rollout: `status`, and `pause`, `resume` and `approve`, by which people let pods be begun."""

from typing import TYPE_CHECKING, Annotated

import typer

from mailtls.cli.cluster import Connected, Context, Kubeconfig, Name, Namespace, connected, unknown
from mailtls.cli.errors import ExitCode, unusable

if TYPE_CHECKING:
    from mailtls.api.resource_view import ResourceView

commands = typer.Typer(no_args_is_help=True, help="Show how far a rollout is; pause, resume or approve it.")


@commands.command()
def status(name: Name, *, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None) -> None:
    """Show the pods of each workload, and what the rollout waits for; exit with 1 unless every pod is verified."""
    from mailtls.cli.output.resources import is_done, rollout_story

    with connected(context, kubeconfig, namespace) as place:
        view = _find(place, name)
        typer.echo(rollout_story(view), nl=False)
        raise typer.Exit(ExitCode.GOOD if is_done(view) else ExitCode.FAULTY)


@commands.command()
def pause(name: Name, *, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None) -> None:
    """Reload or replace no further pod, for this certificate or a later one, until the rollout is resumed."""
    from mailtls.api.resource import PAUSE_ROLLOUT

    with connected(context, kubeconfig, namespace) as place:
        view = _find(place, name)
        _annotate(place, view, PAUSE_ROLLOUT, "true")
        typer.echo(
            f"The rollout of {view.key} is paused: pods that were started on come to their end, no other is reloaded "
            "or replaced, even if the certificate that is served expires. To go on: "
            f"mailtls rollout resume {name} -n {place.namespace}"
        )


@commands.command()
def resume(name: Name, *, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None) -> None:
    """Let a rollout go on that was paused."""
    from mailtls.api.resource import PAUSE_ROLLOUT

    with connected(context, kubeconfig, namespace) as place:
        view = _find(place, name)
        _annotate(place, view, PAUSE_ROLLOUT, None)
        typer.echo(f"The rollout of {view.key} is not paused any more. See how far it is: {_look(place, name)}")


@commands.command()
def approve(
    name: Name,
    fingerprint: Annotated[
        str | None,
        typer.Argument(
            help="How the SHA-256 fingerprint of the certificate begins that you looked at, by 8 digits at least; "
            "without it the one that waits now.",
            show_default=False,
        ),
    ] = None,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Let the certificate that the first pods serve go on to the others; a later one needs an approval of its own."""
    from mailtls.api.resource import APPROVE
    from mailtls.cli.output.resources import to_approve

    with connected(context, kubeconfig, namespace) as place:
        view = _find(place, name)
        try:
            approved = to_approve(view, fingerprint)
        except ValueError as why:
            raise unusable(why) from None
        _annotate(place, view, APPROVE, approved)
        typer.echo(f"Certificate {approved} is approved for {view.key}. See how far it is: {_look(place, name)}")


def _find(place: Connected, name: str) -> "ResourceView":
    from mailtls.api.spec import Key
    from mailtls.kube.resource_views import find

    view = find(place.cluster, Key(place.namespace, name))
    if view is None:
        raise unknown(place, name)
    return view


def _annotate(place: Connected, view: "ResourceView", annotation: str, value: str | None) -> None:
    from mailtls.api.resource import resource_path

    place.cluster.merge(resource_path(view.key), {"metadata": {"annotations": {annotation: value}}})


def _look(place: Connected, name: str) -> str:
    return f"mailtls rollout status {name} -n {place.namespace}"
