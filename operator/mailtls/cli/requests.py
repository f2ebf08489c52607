"""`mailtls renew`, `rollback` and `probe-now`: tell the operator to do something now, and watch it being done."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mailtls.cli.cluster import Connected, Context, Kubeconfig, Name, Namespace, connected
from mailtls.cli.errors import ExitCode, faulty
from mailtls.cli.status import show_one, unknown

if TYPE_CHECKING:
    from mailtls.api.resource_view import Wish

_LOOK_AGAIN_AFTER: Final = 1.0
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Wait until it is done, and show how far it is.")]
Timeout = Annotated[float, typer.Option("--timeout", min=1, max=86400, help="Seconds to wait at most.")]


def _command(wish: str, purpose: str) -> Callable[..., None]:
    """Make the command that tells this wish; `purpose` is its help."""

    def command(
        name: Name,
        *,
        wait: Wait = False,
        timeout: Timeout = 600,
        namespace: Namespace = None,
        context: Context = None,
        kubeconfig: Kubeconfig = None,
    ) -> None:
        from mailtls.api.resource_view import Wish

        with connected(context, kubeconfig, namespace) as place:
            _tell(place, name, Wish(wish), timeout if wait else None)

    command.__doc__ = purpose
    return command


renew = _command("renew", "Order a new certificate now, whatever the old one's age.")
rollback = _command("rollback", "Bring the previous certificate and key back into service.")


def probe_now(
    name: Name,
    *,
    deep: Annotated[bool, typer.Option("--deep", help="Also try to inject a command behind STARTTLS.")] = False,
    wait: Wait = False,
    timeout: Timeout = 600,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Have the operator probe every port of every pod now."""
    from mailtls.api.resource_view import Wish

    with connected(context, kubeconfig, namespace) as place:
        _tell(place, name, Wish.PROBE, timeout if wait else None, "deep-" if deep else "")


def _tell(place: Connected, name: str, wish: "Wish", patience: float | None, manner: str = "") -> None:
    from mailtls.api.resource import resource_path
    from mailtls.api.resource_view import suspended
    from mailtls.api.spec import Key
    from mailtls.kube.resource_views import find
    from mailtls.net.deadline import SystemClock

    key, value = Key(place.namespace, name), manner + SystemClock().now().isoformat(timespec="microseconds")
    view = find(place.cluster, key)
    if view is None:
        raise unknown(place, name)
    place.cluster.merge(resource_path(key), {"metadata": {"annotations": {wish.annotation: value}}})
    typer.echo(f"{wish.annotation}={value} set on {key}.")
    if patience is None and view.is_suspended:
        typer.echo(suspended(view))
    if patience is None:
        typer.echo(f"See how far it is: mailtls status {name} -n {place.namespace}")
        return
    _follow(place, name, (wish, value), patience)


def _follow(place: Connected, name: str, wanted: "tuple[Wish, str]", patience: float) -> None:
    """Say each new state once, on a line of its own: it reads well in a terminal and in a log."""
    from mailtls.api.resource_view import progress
    from mailtls.api.spec import Key
    from mailtls.cli.output.words import safe
    from mailtls.kube.resource_views import find

    begun, said = time.monotonic(), ""
    while time.monotonic() - begun < patience:
        view = find(place.cluster, Key(place.namespace, name))
        if view is None:
            raise unknown(place, name)
        now = progress(view, *wanted)
        if now.sentence != said:
            said = now.sentence
            typer.echo(f"{time.monotonic() - begun:6.1f} s  {safe(said)}")
            sys.stdout.flush()
        if now.came_true is not None:
            show_one(place, name)
            raise typer.Exit(ExitCode.GOOD if now.came_true else ExitCode.FAULTY)
        time.sleep(_LOOK_AGAIN_AFTER)
    raise faulty(f"It was not done within {patience:g} seconds; see mailtls status {name} -n {place.namespace}.")
