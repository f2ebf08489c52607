"""`mailtls probe`: look at any mail server or domain as mail clients and other mail servers do."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from mailtls.cli.errors import unusable
from mailtls.probe.target import Depth

_WHAT, _HOW, _WHO, _OUT = "Targets", "Probe", "Identity", "Output"
_Texts = list[str] | None


def _login(user: str | None) -> tuple[str, str] | None:
    """Ask for the password where no variable holds it; it is never an argument, which all users of a host can see."""
    if user is None:
        return None
    password = os.environ.get("MAILTLS_PROBE_PASSWORD")
    if password is None and not sys.stdin.isatty():
        raise unusable("There is no password for --auth-user: set MAILTLS_PROBE_PASSWORD, or run in a terminal.")
    return user, password if password is not None else typer.prompt("Password", hide_input=True, err=True)


def probe(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...",
            help="A mail domain (all its MX hosts, all their addresses), a host, host:port, or an address.",
            show_default=False,
        ),
    ],
    *,
    mx: Annotated[bool, typer.Option("--mx", help="The targets are mail domains.", rich_help_panel=_WHAT)] = False,
    host: Annotated[bool, typer.Option("--host", help="The targets are hosts.", rich_help_panel=_WHAT)] = False,
    port: Annotated[
        _Texts,
        typer.Option(
            help="Port, again for more: 465, 465/implicit, 2525/smtp/starttls. A known port implies the rest. Without "
            "it 25 of a domain's MX hosts; 25, 465 and 587 of a host (for mailboxes add --port 143 --port 993).",
            show_default=False,
            rich_help_panel=_WHAT,
        ),
    ] = None,
    dkim_selector: Annotated[
        _Texts,
        typer.Option(help="DKIM selector of the domain to look at (s= in a signature).", rich_help_panel=_WHAT),
    ] = None,
    only_ipv4: Annotated[bool, typer.Option("-4", help="Only IPv4 addresses.", rich_help_panel=_WHAT)] = False,
    only_ipv6: Annotated[bool, typer.Option("-6", help="Only IPv6 addresses.", rich_help_panel=_WHAT)] = False,
    depth: Annotated[
        Depth,
        typer.Option(
            case_sensitive=False,
            metavar="quick|full|deep",
            show_default="quick",
            help="quick: one conversation; full: also what else clients may meet; deep: also what a server may resent.",
            rich_help_panel=_HOW,
        ),
    ] = Depth.QUICK,
    deep: Annotated[bool, typer.Option("--deep", help="The same as --depth deep.", rich_help_panel=_HOW)] = False,
    ca_file: Annotated[
        Path | None,
        typer.Option(help="Roots in PEM to trust besides the system's.", rich_help_panel=_HOW, show_default=False),
    ] = None,
    staging: Annotated[
        bool,
        typer.Option("--staging", help="Trust Let's Encrypt's staging roots too, for trials.", rich_help_panel=_HOW),
    ] = False,
    expect_cert: Annotated[
        Path | None,
        typer.Option(help="The certificate (PEM) that must be served.", rich_help_panel=_HOW, show_default=False),
    ] = None,
    expiring_soon: Annotated[
        str | None,
        typer.Option(
            help="Warn when less is left: a share of the lifetime (33%) or a time (240h). Default: a third.",
            rich_help_panel=_HOW,
            metavar="SHARE|TIME",
        ),
    ] = None,
    min_tls: Annotated[
        str | None,
        typer.Option(help="Fail where an older version of TLS is accepted.", rich_help_panel=_HOW, metavar="1.2|1.3"),
    ] = None,
    min_rsa_bits: Annotated[
        str | None,
        typer.Option(
            help="Fail where the certificate's RSA key has fewer bits.", rich_help_panel=_HOW, metavar="2048|3072|4096"
        ),
    ] = None,
    resolver: Annotated[
        _Texts,
        typer.Option(
            help="Resolver to ask, such as 127.0.0.1 or [::1]:5353; its word on DNSSEC (AD) is trusted.",
            rich_help_panel=_HOW,
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=300, help="Seconds for one conversation.", rich_help_panel=_HOW)
    ] = 20,
    concurrency: Annotated[
        int, typer.Option(min=1, max=1000, help="How many conversations at a time.", rich_help_panel=_HOW)
    ] = 50,
    server_name: Annotated[
        _Texts,
        typer.Option(
            help="Name to dial (SNI) and to expect in the certificate; again for more, at full depth.",
            show_default=False,
            rich_help_panel=_WHO,
        ),
    ] = None,
    proxy_protocol: Annotated[
        str | None,
        typer.Option(
            help="Begin with a header of the PROXY protocol: v1 or v2.", rich_help_panel=_WHO, metavar="v1|v2"
        ),
    ] = None,
    xclient: Annotated[
        str | None,
        typer.Option(
            help="Claim to be the client of this address by Postfix' XCLIENT (SMTP and LMTP).",
            rich_help_panel=_WHO,
            metavar="ADDRESS",
        ),
    ] = None,
    client_name: Annotated[
        str | None,
        typer.Option(
            help="Greet SMTP and LMTP servers by this host name (EHLO). Default: this machine's address.",
            rich_help_panel=_WHO,
            metavar="NAME",
        ),
    ] = None,
    auth_user: Annotated[
        str | None,
        typer.Option(
            help="Try a login inside TLS as this user, in full and deep probes. The password comes from "
            "MAILTLS_PROBE_PASSWORD or is asked for.",
            rich_help_panel=_WHO,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Write JSON to standard output.", rich_help_panel=_OUT)] = False,
    junit: Annotated[
        Path | None,
        typer.Option(help="Write JUnit's XML there, or - for standard output, for CI.", rich_help_panel=_OUT),
    ] = None,
    prometheus: Annotated[
        Path | None,
        typer.Option(
            help="Write metrics there, or - for standard output, for node_exporter's textfile collector.",
            rich_help_panel=_OUT,
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 for warnings too.", rich_help_panel=_OUT)
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print problems only.", rich_help_panel=_OUT)] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colors.", rich_help_panel=_OUT)] = False,
) -> None:
    """Probe mail servers and domains from here, without a cluster: what do they serve, and would clients accept it?"""
    from mailtls.cli import delivery, probe_options
    from mailtls.cli.survey import survey
    from mailtls.net.effects import SystemClock

    try:
        output = delivery.Output(json, junit, prometheus, strict=strict, quiet=quiet, color=not no_color)
        request = probe_options.request(
            probe_options.Options(
                targets=tuple(targets),
                mx=mx,
                host=host,
                ports=tuple(port or ()),
                only_ipv4=only_ipv4,
                only_ipv6=only_ipv6,
                depth=Depth.DEEP if deep else depth,
                server_names=tuple(server_name or ()),
                ca_file=ca_file,
                staging=staging,
                expiring_soon=expiring_soon,
                min_tls=min_tls,
                min_rsa_bits=min_rsa_bits,
                expect_cert=expect_cert,
                resolvers=tuple(resolver or ()),
                dkim_selectors=tuple(dkim_selector or ()),
                timeout=timeout,
                concurrency=concurrency,
                proxy_protocol=proxy_protocol,
                xclient=xclient,
                client_name=client_name,
                login=_login(auth_user),
            )
        )
        with delivery.progress(output) as watcher:
            found = survey(request, SystemClock(), watcher)
        raise typer.Exit(delivery.deliver(found, output))
    except (ValueError, OSError) as problem:
        raise unusable(problem) from None
