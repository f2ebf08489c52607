"""The command line: `mailtls run` is the operator."""

import logging
import os
import sys
from functools import partial
from typing import Annotated

import typer

from mailtls import __version__
from mailtls import release as last_act
from mailtls.lifetime import Operator
from mailtls.logs import configure_logs
from mailtls.settings import InvalidSettings, Settings
from mailtls.wiring import build
from mailtls.world.connection import NotConfigured, configure

UNUSABLE = 2  # exit code: nothing was done, because the settings make no sense
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def about() -> None:
    """Certificates for mail servers, proven where they are served."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command()
def run(
    context: Annotated[
        str | None, typer.Option(help="Context of the kubeconfig to use instead of the pod's own.")
    ] = None,
) -> None:
    """Run the operator, as the Deployment does; settings come from environment variables."""
    try:
        settings = Settings.from_environment(os.environ)
        configure_logs(settings.log_format, settings.log_level)
        operator = Operator(settings, partial(configure, context, settings.kubeconfig), build)
    except (InvalidSettings, NotConfigured) as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(UNUSABLE) from None
    code = operator.run()
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)  # threads that hang in the network must not keep the pod beyond its five seconds


@app.command()
def release() -> None:
    """Close open orders and let their Secrets go, before an installation is removed; no replica leads any more.

    Takes a minute at most. Ends well also where something had to be left, which the log tells: it must not keep an
    installation from being removed.
    """
    try:
        settings = Settings.from_environment(os.environ)
        configure_logs(settings.log_format, settings.log_level)
        last_act.release(settings, partial(configure, None, settings.kubeconfig))
    except (InvalidSettings, NotConfigured) as problem:
        typer.echo(f"Nothing was released: {problem}", err=True)
    logging.shutdown()
    sys.stderr.flush()
    os._exit(0)  # threads may hang in the network


def main() -> None:
    """Entry point of the `mailtls` script."""
    app()


if __name__ == "__main__":
    main()
