"""The way to a cluster for commands that need one, and what to say when there is none."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mailtls.cli.errors import blind, unusable

if TYPE_CHECKING:
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


@dataclass(frozen=True, slots=True)
class Connected:
    """A cluster, and the namespace that is meant where none is named."""

    cluster: "KubernetesCluster"
    namespace: str


@contextmanager
def connected(context: str | None, kubeconfig: str | None, namespace: str | None) -> Iterator[Connected]:
    """Give the cluster; whatever goes wrong on the way or in it ends the command with one sentence."""
    from mailtls.kube.client import KubernetesCluster
    from mailtls.kube.connection import NotConfigured, configure, current_namespace
    from mailtls.kube.interface import ApiError, Unreachable

    try:
        cluster = KubernetesCluster(partial(configure, context, kubeconfig))
        yield Connected(cluster, namespace or current_namespace(context, kubeconfig))
    except NotConfigured as problem:
        raise blind(problem) from None
    except Unreachable as problem:
        raise blind(f"The cluster does not answer: {problem}") from None
    except ApiError as problem:
        if problem.is_forbidden:
            raise blind(f"The cluster does not let you: {problem.message}") from None
        if problem.is_missing:
            raise unusable(f"The cluster has no such thing ({problem.message}); is mailtls installed there?") from None
        raise unusable(f"The cluster refuses: {problem.message}") from None
