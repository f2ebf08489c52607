"""All commands by name; `explain` and `run` are short enough to stand here."""

import logging
import os
import sys
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Final

import typer

from mailtls import __version__
from mailtls.cli import cluster as requests
from mailtls.cli import cluster as status
from mailtls.cli import preflight_command as preflight
from mailtls.cli import probe, rollout
from mailtls.cli.bundle_command import bundle
from mailtls.cli.check_installation import check_installation
from mailtls.cli.errors import unusable
from mailtls.cli.init_command import init
from mailtls.cli.page import page

_MOST_SUGGESTIONS: Final = 3
_LIKENESS: Final = 0.5


def explain(
    reason: Annotated[
        str | None,
        typer.Argument(help="A reason as in conditions, events and reports, in any case; or words of what users see."),
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--list", help="List all reasons.")] = False,
) -> None:
    """Say what a reason means, what users see of it, and what to do about it."""
    from mailtls.cli.output.words import explained, found, listed

    if everything:
        typer.echo(listed(), nl=False)
        return
    if reason is None:
        raise unusable("Write a reason, such as StarttlsNotAdvertised, or --list for all of them.")
    text = explained(reason) or found(reason)
    if text is None:
        raise unusable(_unknown(reason))
    typer.echo(text, nl=False)


def _unknown(word: str) -> str:
    from mailtls.cli.output.words import safe
    from mailtls.reasons.reason import Reason

    names = {name.lower(): str(name) for name in Reason}
    close = get_close_matches(word.lower(), names, _MOST_SUGGESTIONS, _LIKENESS)
    hint = f"did you mean {' or '.join(names[each] for each in close)}?" if close else "--list shows all of them."
    return f"There is no reason «{safe(word)}»: {hint}"


def run(
    context: Annotated[
        str | None, typer.Option(help="Context of the kubeconfig to use instead of the pod's own.")
    ] = None,
) -> None:
    """In the operator's pod: run the operator, as the Deployment does; settings come from environment variables."""
    from mailtls.controller.lifetime import Operator
    from mailtls.kube.login import NotConfigured, configure
    from mailtls.logs import configure_logs
    from mailtls.settings import InvalidSettings, Settings

    try:
        settings = Settings.from_environment(os.environ)
        configure_logs(settings.log_format, settings.log_level)
        operator = Operator(settings, partial(configure, context, settings.kubeconfig))
    except (InvalidSettings, NotConfigured) as problem:
        own = " In a pod the operator takes its service account." if isinstance(problem, NotConfigured) else ""
        raise unusable(f"{problem}{own}") from None
    _leave(operator.run())


def uninstall() -> None:
    """In the operator's pod: close open orders and remove the finalizers of their Secrets, before an uninstall.

    No replica is the leader then. Takes a minute at most. Ends well also where something had to be left, which the log
    says: it must not keep an installation from being removed.
    """
    from mailtls.controller.uninstall import close_all_orders
    from mailtls.kube.login import NotConfigured, configure
    from mailtls.logs import configure_logs
    from mailtls.settings import InvalidSettings, Settings

    try:
        settings = Settings.from_environment(os.environ)
        configure_logs(settings.log_format, settings.log_level)
        close_all_orders(settings, partial(configure, None, settings.kubeconfig))
    except (InvalidSettings, NotConfigured) as problem:
        typer.echo(f"No open order was closed: {problem}", err=True)
    _leave(0)


def _leave(code: int) -> None:
    """End at once: threads that hang in the network must not keep the pod beyond its five seconds."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)


EPILOG = (
    "Exit codes: 0 all is well, 1 something fails, 2 the command line, a name or a file makes no sense, "
    "3 nothing, or not all, could be checked (no resolver, network, cluster or right)."
)
SETTINGS = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, context_settings=SETTINGS, epilog=EPILOG)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def about(
    *,
    _version: Annotated[
        bool, typer.Option("--version", "-V", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Bring certificates into mail servers, and verify what every port serves."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


app.command(epilog=EPILOG)(probe.probe)
app.command(epilog=EPILOG)(explain)
app.command(epilog=EPILOG)(init)
app.command(epilog=EPILOG)(preflight.preflight)
app.command(epilog=EPILOG)(status.status)
app.command(epilog=EPILOG)(page)
app.command("renew", epilog=EPILOG)(requests.renew)
app.command("rollback", epilog=EPILOG)(requests.rollback)
app.command("probe-now", epilog=EPILOG)(requests.probe_now)
app.add_typer(rollout.commands, name="rollout", epilog=EPILOG)
app.command(epilog=EPILOG)(bundle)
app.command(epilog=EPILOG)(run)
app.command(epilog=EPILOG)(uninstall)
app.command(epilog=EPILOG)(check_installation)
