"""Where the page of each reason is: in the documentation, and at the address that an installation serves it from."""

import re
from typing import Final

from mailtls.reasons.reason import Reason

FOLDER: Final = "reference/reasons"
_MORE: Final = " More: "
# What a message may end with: nothing that a terminal or a page shows as something else, and a host that stands there.
_DOCS_URL: Final = re.compile(r"https?://[-A-Za-z0-9._:\[\]]+/[!-~]+")


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


def docs_address(text: str) -> str:
    """Return the address of the documentation as it is, where it is one with `{page}` in it; raises ValueError."""
    if not _DOCS_URL.fullmatch(text) or text.count("{page}") != 1:
        raise ValueError("write an address with {page} in it, such as https://docs.example.com/mailtls/0.1/{page}/")
    return text
