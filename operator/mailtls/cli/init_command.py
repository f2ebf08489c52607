"""`mailtls init`: from what runs in the cluster to the files that mailtls needs. It writes nothing anywhere."""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mailtls.cli.cluster import Connected, Context, Kubeconfig, Namespace, connected
from mailtls.cli.errors import unusable

if TYPE_CHECKING:
    from mailtls.cli.init.documents import Plan, Rfc2136
    from mailtls.cli.init.servers import MailWorkload
    from mailtls.cli.init.surroundings import Surroundings
    from mailtls.net.resolver import ResolverSettings

PARTS: Final = ("values", "manifest", "pods")
_DEFAULT_NAME: Final = "mx"


def init(
    *,
    dns_name: Annotated[
        list[str] | None,
        typer.Option(
            "--dns-name", help="A name of the mail server; the first is what clients dial.", show_default=False
        ),
    ] = None,
    workload: Annotated[
        list[str] | None,
        typer.Option("--workload", help="Such as StatefulSet/postfix; without it all that are recognized."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the MailServerTLS.")] = "",
    secret_name: Annotated[
        str, typer.Option("--secret-name", help="The Secret; without it the one that the pods mount, or NAME-tls.")
    ] = "",
    email: Annotated[str, typer.Option("--email", help="Where the CA may write to.")] = "",
    dns_server: Annotated[
        str, typer.Option("--dns-server", help="Validate by DNS: the server that takes RFC 2136 updates.")
    ] = "",
    tsig_key_name: Annotated[str, typer.Option("--tsig-key-name", help="With --dns-server: the key.")] = "mailtls",
    tsig_secret: Annotated[str, typer.Option("--tsig-secret", help="With --dns-server: its Secret; else tsig.")] = "",
    external: Annotated[
        bool | None,
        typer.Option("--external/--order", help="Whether somebody else writes the Secret; without it as it is now."),
    ] = None,
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap/--no-bootstrap", help="A placeholder before the first certificate.")
    ] = True,
    show: Annotated[str, typer.Option("--show", help="Print only one part: values, manifest or pods.")] = "",
    check: Annotated[bool, typer.Option("--preflight/--no-preflight", help="Say what would go wrong with it.")] = True,
    resolver: Annotated[list[str] | None, typer.Option(help="Resolver to ask.", show_default=False)] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Look at the mail servers of a namespace and print the chart's values, the MailServerTLS and the pods' volumes.

    Asks in a terminal what no option says. Nothing is changed. What was seen goes to standard error.
    """
    from mailtls.cli.init.documents import Rfc2136
    from mailtls.cli.init.surroundings import look_around
    from mailtls.net.resolver import ResolverSettings

    if show and show not in PARTS:
        raise unusable("Write --show values, --show manifest or --show pods.")
    with connected(context, kubeconfig, namespace) as place:
        resolvers = ResolverSettings(tuple(resolver or ()))
        around = look_around(place.cluster, place.namespace, secret_name or None)
        dns = Rfc2136(dns_server, tsig_key_name, tsig_secret or "tsig") if dns_server else None
        chosen = _chosen(workload or (), around)
        plan = _plan(around, chosen, dns_name or (), (name, secret_name, email, external), dns, bootstrap=bootstrap)
        _say(around, plan, resolvers)
        _print(plan, show)
        if check:
            _check(plan, place, resolvers)


def _chosen(wanted: Sequence[str], around: "Surroundings") -> "tuple[MailWorkload, ...]":
    """Take the workloads that were named, or all; a name alone will do where it is one's only."""
    if not wanted:
        return around.workloads
    found = [[each for each in around.workloads if text in (str(each), each.name)] for text in wanted]
    for text, matches in zip(wanted, found, strict=True):
        if len(matches) != 1:
            known = ", ".join(map(str, around.workloads)) or "none"
            raise unusable(f"{text} is not one mail server that was recognized in {around.namespace}: {known}.")
    return tuple(each for each in around.workloads if [each] in found)


_Given = tuple[str, str, str, bool | None]


def _plan(
    around: "Surroundings",
    workloads: "tuple[MailWorkload, ...]",
    names: Sequence[str],
    given: _Given,
    dns: "Rfc2136 | None",
    *,
    bootstrap: bool,
) -> "Plan":
    from mailtls.cli.init.documents import Plan

    name, secret, email, is_external = given
    secret = secret or _mounted(around, workloads) or f"{name or _DEFAULT_NAME}-tls"
    found = around.secrets.get(secret)
    is_elsewhere = found is not None and found.exists and not found.is_ours and secret not in around.resources
    is_external = is_elsewhere if is_external is None else is_external
    dns_names = tuple(names) or _asked_names(found.names if found is not None else ())
    has_operator = around.installation is not None
    if not has_operator and not is_external and not email and _may_ask():
        email = typer.prompt("Where may the CA write to (a mail address, or nothing)", default="", err=True)
    return Plan(
        name=name or around.resources.get(secret, _DEFAULT_NAME),
        namespace=around.namespace,
        dns_names=dns_names,
        secret_name=secret,
        workloads=workloads,
        is_external=is_external,
        bootstrap=bootstrap and not is_external,
        has_operator=has_operator,
        email=email,
        dns=dns,
    )


def _mounted(around: "Surroundings", workloads: "Sequence[MailWorkload]") -> str:
    """The TLS Secret that the pods mount already; one of a MailServerTLS first."""
    names = [secret for each in workloads for secret in each.mounted]
    known = [secret for secret in names if secret in around.resources]
    return next(iter((*known, *(secret for secret in names if secret in around.secrets))), "")


def _may_ask() -> bool:
    return sys.stdin.isatty()


def _asked_names(known: Sequence[str]) -> tuple[str, ...]:
    usable = [name for name in known if not name.startswith("*")] + [name for name in known if name.startswith("*")]
    if not _may_ask():
        if usable and not usable[0].startswith("*"):
            return tuple(usable)
        raise unusable("Write --dns-name with the name that mail clients dial, such as --dns-name mx1.example.com.")
    text: str = typer.prompt(
        "Which names do mail clients and servers dial, the first one first (separated by commas)",
        default=", ".join(usable) or None,
        err=True,
    )
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _say(around: "Surroundings", plan: "Plan", resolver: "ResolverSettings") -> None:
    from mailtls.cli.init.surroundings import sentences
    from mailtls.cli.output.words import safe

    for line in (*sentences(around, plan.dns_names, resolver), *_decided(around, plan)):
        typer.echo(safe(line), err=True)


def _decided(around: "Surroundings", plan: "Plan") -> list[str]:
    found = around.secrets.get(plan.secret_name)
    said = []
    if found is not None and found.keeper and plan.is_external:
        said.append(
            f"Secret {plan.secret_name} is written by {found.keeper}, so the manifest has external: {{}}: nothing is "
            "ordered. Write --order to have mailtls order it."
        )
    elif found is not None and found.exists and not found.is_ours and not plan.is_external:
        said.append(
            f"Secret {plan.secret_name} is written by {found.keeper}. Let mailtls take it over: kubectl -n "
            f"{plan.namespace} annotate secret {plan.secret_name} mailtls.dev/adopt=true."
        )
    return said


def _print(plan: "Plan", show: str) -> None:
    from mailtls.cli.init import documents

    made: dict[str, Callable[[Plan], str]] = {
        "values": documents.values,
        "manifest": documents.manifest,
        "pods": documents.pods,
    }
    typer.echo("---\n".join(made[part](plan) for part in PARTS if show in ("", part)), nl=False)


def _check(plan: "Plan", place: Connected, resolver: "ResolverSettings") -> None:
    """Run preflight on the manifest; what it finds is said, and does not change how the command ends."""
    from mailtls.cli.init.documents import resource
    from mailtls.cli.output.words import preflight_line, preflight_summary
    from mailtls.cli.preflight.checks import preflight
    from mailtls.cli.preflight_command import place_of

    sys.stdout.flush()
    lines = []
    for line in preflight(resource(plan), place_of(place, None, resolver, may_write=False)):
        typer.echo(preflight_line(line), err=True)
        lines.append(line)
    typer.echo(preflight_summary(lines), err=True)
