"""`python -m docsite.versions SITE`: list the versions of a site, after a folder came or went.

A site has a folder for each version, and the list that the selector in the page's head reads, in the form of mike,
which the theme knows. 0.1 is the folder of every 0.1.x, so that the next patch takes its place; what is no number, such
as `dev`, comes last.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Final

_NUMBERS: Final = re.compile(r"\d+(\.\d+)*")
_REDIRECT: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>mailtls</title>
<meta http-equiv="refresh" content="0; url={folder}/">
<link rel="canonical" href="{folder}/">
<a href="{folder}/">Documentation of mailtls {folder}</a>
</html>
"""


def folder_of(version: str) -> str:
    """Return the folder of a version: `0.1` for 0.1.3, the name itself for what is no version."""
    return ".".join(version.split(".")[:2]) if _NUMBERS.fullmatch(version) else version


def newest_first(folders: list[str]) -> list[str]:
    """Sort folders as the selector shows them: the first is where the address without a version leads."""
    numbered = [each for each in folders if _NUMBERS.fullmatch(each)]
    numbered.sort(key=lambda each: [int(part) for part in each.split(".")], reverse=True)
    return numbered + sorted(set(folders) - set(numbered))


def write_list(site: Path) -> list[str]:
    """Write versions.json and the page that leads to the newest, from the folders that are there."""
    folders = newest_first([each.parent.name for each in site.glob("*/index.html")])
    listed = [{"version": each, "title": each, "aliases": []} for each in folders]
    (site / "versions.json").write_text(json.dumps(listed, indent=1) + "\n", encoding="ascii")
    (site / "index.html").write_text(_REDIRECT.format(folder=folders[0]), encoding="ascii")
    return folders


if __name__ == "__main__":
    print(", ".join(write_list(Path(sys.argv[1]))))
