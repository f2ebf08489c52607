"""`mailtls explain`: what a reason means, and what to do."""

from difflib import get_close_matches
from typing import Annotated, Final

import typer

from mailtls.commands.endings import unusable

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
    from mailtls.reports.explaining import explained, found, listed

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
    from mailtls.model.reason import Reason
    from mailtls.reports.words import safe

    names = {name.lower(): str(name) for name in Reason}
    close = get_close_matches(word.lower(), names, _MOST_SUGGESTIONS, _LIKENESS)
    hint = f"did you mean {' or '.join(names[each] for each in close)}?" if close else "--list shows all of them."
    return f"There is no reason «{safe(word)}»: {hint}"
