"""How commands end early: one clear sentence on the error stream, and an exit code that says whose fault it is."""

import typer

from mailtls.model.exit_code import ExitCode


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
