"""How commands end: exit codes, and one clear sentence on the error stream when they end early."""

from enum import IntEnum

import typer


class ExitCode(IntEnum):
    """Fit for cron and CI: a fault that was seen differs from a typing error, and both from having seen nothing."""

    GOOD = 0
    FAULTY = 1
    UNUSABLE = 2  # the command line, a name or a file makes no sense
    BLIND = 3  # nothing, or not all, could be checked: no resolver, network, cluster or right


def unusable(sentence: object) -> typer.Exit:
    """What was typed makes no sense."""
    return _ending(sentence, ExitCode.UNUSABLE)


def blind(sentence: object) -> typer.Exit:
    """Nothing could be seen."""
    return _ending(sentence, ExitCode.BLIND)


def faulty(sentence: object) -> typer.Exit:
    """What was seen is not well."""
    return _ending(sentence, ExitCode.FAULTY)


def _ending(sentence: object, code: ExitCode) -> typer.Exit:
    typer.echo(str(sentence), err=True)
    return typer.Exit(code)
