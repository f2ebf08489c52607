"""All commands by name."""

from typing import Annotated

import typer

from mailtls import __version__
from mailtls.commands import explain, preflight, probe, run, status, wishes

EPILOG = (
    "Exit codes: 0 all is well, 1 something fails, 2 the command line, a name or a file makes no sense, "
    "3 nothing could be seen (no resolver, no network, no cluster)."
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
    """Certificates for mail servers, proven where they are served."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


app.command(epilog=EPILOG)(probe.probe)
app.command(epilog=EPILOG)(explain.explain)
app.command(epilog=EPILOG)(preflight.preflight)
app.command(epilog=EPILOG)(status.status)
app.command("renew", epilog=EPILOG)(wishes.renew)
app.command("rollback", epilog=EPILOG)(wishes.rollback)
app.command("probe-now", epilog=EPILOG)(wishes.probe_now)
app.command(epilog=EPILOG)(run.run)
app.command(epilog=EPILOG)(run.release)
