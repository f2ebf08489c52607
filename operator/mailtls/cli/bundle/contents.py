"""The files of a bundle: what they hold is redacted when it is put in, and once more by what was learned later."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, ParamSpec

from mailtls.cli.bundle.redaction import Redactor

MOST_BYTES: Final = 32 * 1024 * 1024  # of all files, before what is secret is replaced
_TOO_LATE: Final = "the time was over before secrets were removed from it"
P = ParamSpec("P")
_README: Final = """\
Support bundle of mailtls, taken at {time}
{scope}

What is here
  missing.txt               what could not be read, and why
  versions.json             of the program that took it, of Kubernetes, and of the CRD
  operator/                 Deployment with its settings, pods, Lease, rights, events, logs, metrics
  namespaces/NAMESPACE/     events, and a folder for each MailServerTLS with
    resource.json             the resource with its status
    status.txt                the same, for people
    workloads.json, pods.json images, mounts, conditions and restarts of what serves it
    secrets.json              names, labels and sizes of its Secrets, and what its certificate says
    preflight.txt             what `mailtls preflight` says of it, as far as reading alone allows

What is not here
  Private keys and other entries of Secrets; foreign annotations and labels (of annotations the names are here);
  commands, arguments and variables of containers, but for the operator's own; log lines of your mail servers.
  In all that is here, what looks like a key, a token or a password is replaced by "{removed}".

Names, addresses and mail addresses are here as they are. Read the bundle before you give it to somebody: no program
knows all that you would keep to yourself.

Files
{files}
"""


class Contents:
    """Collects files by name; `add` and `add_text` redact nothing, `archive` all."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._documents: dict[str, Any] = {}
        self._left_out: set[str] = set()
        self.known: set[bytes] = set()
        self.public: set[str] = set()

    def add(self, name: str, document: Any) -> None:
        """Put a JSON document in."""
        self._documents[name] = document

    def add_text(self, name: str, text: str) -> None:
        """Put a text in."""
        self._files[name] = text

    def leave_out(self, folder: str) -> None:
        """Have nothing in the archive that is, or will be, put into a folder."""
        self._left_out.add(folder)

    def archive(self, taken_at: datetime, scope: str, missing: Sequence[str]) -> tuple[bytes, list[str]]:
        """Return the tar archive, compressed, and what is missing in it: the same bytes for the same contents.

        What is not redacted when a deadline passes is left out. Short files come first, so that most are there.
        """
        redactor = Redactor(self.known, self.public)
        scope, *noted = [_in_time(redactor.text, line) or f"(left out: {_TOO_LATE})" for line in (scope, *missing)]
        every = {**self._files, **{name: _json(each) for name, each in self._documents.items()}}
        raw, dropped = _fitting({name: text for name, text in every.items() if not self._is_left_out(name)})
        texts = {}
        for name in sorted(raw, key=lambda each: (len(raw[each]), each)):
            text = _in_time(self._redacted, redactor, name)
            if text is None:
                dropped.append(f"{name}: {_TOO_LATE}")
            else:
                texts[name] = text
        noted += dropped
        texts["missing.txt"] = "".join(f"{line}\n" for line in noted) or "Nothing: all was read.\n"
        names = "\n".join(f"  {name}" for name in sorted(texts))
        readme = _README.format(
            time=taken_at.isoformat(timespec="seconds"), scope=scope, removed="(removed)", files=names
        )
        return _packed({"README.txt": readme, **texts}, taken_at), noted

    def _is_left_out(self, name: str) -> bool:
        return name.startswith(tuple(self._left_out))

    def _redacted(self, redactor: Redactor, name: str) -> str:
        if name in self._documents:
            return _json(redactor.value(self._documents[name]))
        return redactor.text(self._files[name])


def _in_time(redact: Callable[P, str], *given: P.args, **named: P.kwargs) -> str | None:
    try:
        return redact(*given, **named)
    except TimeoutError:
        return None


def folder_name(taken_at: datetime) -> str:
    """Name the folder in the archive, and the archive itself without its ending."""
    return f"mailtls-bundle-{taken_at:%Y%m%dT%H%M%SZ}"


def _json(document: Any) -> str:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True) + "\n"


def _fitting(texts: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Drop the largest files until the rest is small enough."""
    left, dropped = dict(texts), []
    while sum(map(len, left.values())) > MOST_BYTES:
        name = max(left, key=lambda each: len(left[each]))
        dropped.append(f"{name}: the bundle would be larger than {MOST_BYTES} bytes with it")
        del left[name]
    return left, dropped


def _packed(files: Mapping[str, str], taken_at: datetime) -> bytes:
    packed, at = io.BytesIO(), int(taken_at.timestamp())
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=at, filename="") as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in sorted(files):
            data = files[name].encode("utf-8", "replace")
            entry = tarfile.TarInfo(f"{folder_name(taken_at)}/{name}")
            entry.size, entry.mtime, entry.mode = len(data), at, 0o600
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()
