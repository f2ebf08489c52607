"""Commands on a cluster: `status`, and `renew`, `rollback` and `probe-now`, which ask the operator for something."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mailtls.cli.errors import ExitCode, blind, faulty, unusable

if TYPE_CHECKING:
    from mailtls.api.resource import Request
    from mailtls.kube.client import KubernetesCluster

Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.", show_default=False)]
Kubeconfig = Annotated[
    str | None,
    typer.Option("--kubeconfig", envvar="KUBECONFIG", help="The kubeconfig.", show_default=False, show_envvar=False),
]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace; without it the context's.", show_default=False)
]
Name = Annotated[str, typer.Argument(help="Name of the MailServerTLS.", show_default=False)]


_UNAUTHORIZED: Final = 401
_NOT_LOGGED_IN: Final = "The API server does not accept the kubeconfig's credentials: log in again, or renew them."
_NO_ANSWER: Final = "check that the cluster runs, and that `kubectl config current-context` is the one that you mean."


@dataclass(frozen=True, slots=True)
class Connected:
    """A cluster, and the namespace that is meant where none is named."""

    cluster: "KubernetesCluster"
    namespace: str


@contextmanager
def connected(context: str | None, kubeconfig: str | None, namespace: str | None) -> Iterator[Connected]:
    """Give the cluster; whatever goes wrong on the way or in it ends the command with one sentence."""
    from mailtls.kube.client import KubernetesCluster
    from mailtls.kube.interface import ApiError, NoAnswer, Unreachable
    from mailtls.kube.login import configure, current_namespace

    try:
        cluster = KubernetesCluster(partial(configure, context, kubeconfig))
        yield Connected(cluster, namespace or current_namespace(context, kubeconfig))
    except NoAnswer as problem:
        raise blind(f"{problem}: {_NO_ANSWER}") from None
    except Unreachable as problem:
        raise blind(problem) from None
    except ApiError as problem:
        if problem.is_forbidden:
            raise blind(f"The cluster does not let you: {problem.message}") from None
        if problem.status == _UNAUTHORIZED:
            raise blind(_NOT_LOGGED_IN) from None
        if problem.is_missing:
            raise unusable(f"The cluster has no such thing ({problem.message}); is mailtls installed there?") from None
        raise unusable(f"The cluster refuses: {problem.message}") from None


def status(
    name: Annotated[
        str | None,
        typer.Argument(help="One MailServerTLS, with all conditions, ports and history.", show_default=False),
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
    from mailtls.net.effects import SystemClock

    view = find(place.cluster, Key(place.namespace, name))
    if view is None:
        raise unknown(place, name)
    typer.echo(resource_story(view, SystemClock().now(), _width()), nl=False)
    return ExitCode.GOOD if view.is_ready else ExitCode.FAULTY


def _show_json(place: Connected, name: str | None, *, everywhere: bool) -> ExitCode:
    from mailtls.api.resource_json import resources_json
    from mailtls.api.spec import Key
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
    from mailtls.net.effects import SystemClock

    views = find_all(place.cluster, None if everywhere else place.namespace)
    if not views:
        where = "in the cluster" if everywhere else f"in namespace {place.namespace}"
        typer.echo(f"There is no MailServerTLS {where}.", err=True)
        return ExitCode.GOOD
    typer.echo(resource_table(views, SystemClock().now(), with_namespace=everywhere, width=_width()), nl=False)
    return ExitCode.GOOD if all(view.is_ready for view in views) else ExitCode.FAULTY


_RECHECK_AFTER: Final = 1.0
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Wait until it is done, and show how far it is.")]
Timeout = Annotated[float, typer.Option("--timeout", min=1, max=86400, help="Seconds to wait at most.")]


def _command(request: str, purpose: str) -> Callable[..., None]:
    """Make the command for this request; `purpose` is its help."""

    def command(
        name: Name,
        *,
        wait: Wait = False,
        timeout: Timeout = 600,
        namespace: Namespace = None,
        context: Context = None,
        kubeconfig: Kubeconfig = None,
    ) -> None:
        from mailtls.api.resource import Request

        with connected(context, kubeconfig, namespace) as place:
            _request(place, name, Request(request), timeout if wait else None)

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
    from mailtls.api.resource import Request

    with connected(context, kubeconfig, namespace) as place:
        _request(place, name, Request.PROBE, timeout if wait else None, "deep-" if deep else "")


def _request(place: Connected, name: str, request: "Request", patience: float | None, prefix: str = "") -> None:
    from mailtls.api.resource import resource_path
    from mailtls.api.resource_view import refused, suspended
    from mailtls.api.spec import Key
    from mailtls.kube.resource_views import find
    from mailtls.net.effects import SystemClock

    key, value = Key(place.namespace, name), prefix + SystemClock().now().isoformat(timespec="microseconds")
    view = find(place.cluster, key)
    if view is None:
        raise unknown(place, name)
    if why := refused(view, request):
        raise unusable(why)
    place.cluster.merge(resource_path(key), {"metadata": {"annotations": {request.annotation: value}}})
    typer.echo(f"{request.annotation}={value} set on {key}.")
    if patience is None and view.is_suspended:
        typer.echo(suspended(view))
    if patience is None:
        typer.echo(f"See how far it is: mailtls status {name} -n {place.namespace}")
        return
    _follow(place, name, (request, value), patience)


def _follow(place: Connected, name: str, wanted: "tuple[Request, str]", patience: float) -> None:
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
        time.sleep(_RECHECK_AFTER)
    raise faulty(f"It was not done within {patience:g} seconds; see mailtls status {name} -n {place.namespace}.")
