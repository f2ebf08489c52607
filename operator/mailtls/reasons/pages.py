"""Where the page of each reason is: in the documentation, and at the address that an installation serves it from."""

from typing import Final

from mailtls.reasons.reason import Reason

FOLDER: Final = "reference/reasons"
_MORE: Final = " More: "


def page(reason: Reason) -> str:
    """Return the page of a reason, as `{page}` in the address of the documentation stands for it."""
    return f"{FOLDER}/{reason}"


def file_of(reason: Reason) -> str:
    """Return the file of that page in the repository."""
    return f"docs/{page(reason)}.md"


def with_link(message: str, reason: Reason, docs_url: str) -> str:
    """Add to a message where its reason is explained; `docs_url` has `{page}` in it."""
    return f"{message}{_MORE}{address(reason, docs_url)}"


def address(reason: Reason, docs_url: str) -> str:
    """Return where the page is served."""
    return docs_url.replace("{page}", page(reason))


def link_from(message: str, plain: str, reason: Reason, wanted: Reason) -> str | None:
    """Return the address of the page of `wanted`, by the link that `with_link` added to `plain`; None without one.

    What strangers say may look like a link, but it is part of `plain`. An address of another form, such as an earlier
    version of the operator wrote, is none.
    """
    link = message.removeprefix(f"{plain}{_MORE}")
    is_link = link != message and link.count(page(reason)) == 1
    return link.replace(page(reason), page(wanted)) if is_link else None
