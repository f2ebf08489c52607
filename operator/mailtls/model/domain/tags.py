"""Lists of tags, `name=value; name=value`, as DKIM, DMARC and TLSRPT write them (RFC 6376 section 3.2)."""

import re

_TAG = re.compile(r"[ \t\r\n]*([A-Za-z][A-Za-z0-9_]*)[ \t\r\n]*=[ \t\r\n]*([^;]*?)[ \t\r\n]*")


class TagsInvalid(ValueError):
    """A list of tags that cannot be read; the text says what is wrong, in a few words."""


def parse_tags(text: str) -> dict[str, str]:
    """Read a list of tags in its order; raises `TagsInvalid`."""
    tags: dict[str, str] = {}
    parts = text.split(";")
    if not parts[-1].strip():
        parts.pop()
    for part in parts:
        match = _TAG.fullmatch(part)
        if match is None:
            raise TagsInvalid("its parts between semicolons are not all of the form name=value")
        if match[1] in tags:
            raise TagsInvalid(f"it has the tag {match[1]} twice")
        tags[match[1]] = match[2]
    return tags
