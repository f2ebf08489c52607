"""`mailtls run` is the operator, `mailtls release` its last act."""

import logging
import os
import sys
from functools import partial
from typing import Annotated

import typer

from mailtls.commands.endings import unusable


def run(
    context: Annotated[
        str | None, typer.Option(help="Context of the kubeconfig to use instead of the pod's own.")
    ] = None,
) -> None:
    """Run the operator, as the Deployment does; settings come from environment variables."""
    from mailtls.lifetime import Operator
    from mailtls.logs import configure_logs
    from mailtls.settings import InvalidSettings, Settings
    from mailtls.wiring import build
    from mailtls.world.cluster.connection import NotConfigured, configure

    try:
        settings = Settings.from_environment(os.environ)
        configure_logs(settings.log_format, settings.log_level)
        operator = Operator(settings, partial(configure, context, settings.kubeconfig), build)
    except (InvalidSettings, NotConfigured) as problem:
        raise unusable(problem) from None
    _leave(operator.run())


def release() -> None:
    """Close open orders and let their Secrets go, before an installation is removed; no replica leads any more.

    Takes a minute at most. Ends well also where something had to be left, which the log tells: it must not keep an
    installation from being removed.
    """
    from mailtls import release as last_act
    from mailtls.logs import configure_logs
    from mailtls.settings import InvalidSettings, Settings
    from mailtls.world.cluster.connection import NotConfigured, configure

    try:
        settings = Settings.from_environment(os.environ)
        configure_logs(settings.log_format, settings.log_level)
        last_act.release(settings, partial(configure, None, settings.kubeconfig))
    except (InvalidSettings, NotConfigured) as problem:
        typer.echo(f"Nothing was released: {problem}", err=True)
    _leave(0)


def _leave(code: int) -> None:
    """End at once: threads that hang in the network must not keep the pod beyond its five seconds."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)
