"""What removing secrets costs: it grows with the text alone, ends with the deadline, and lets no secret through."""

import gzip
import io
import json
import re
import tarfile
from base64 import b64encode
from datetime import UTC, datetime
from random import Random
from typing import ClassVar
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtls.api.reading.document import Json
from mailtls.cli.bundle.contents import Contents
from mailtls.cli.bundle.known import PIECE, KnownSecrets
from mailtls.cli.bundle.reading import Reader
from mailtls.cli.bundle.redaction import REMOVED, Redactor, without_keys
from mailtls.cli.bundle.resources import MOST_LEARNED, add_secrets
from mailtls.net.effects import within

BEGIN, END = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
SECRET = "correct-horse-battery"


class Counted(str):
    """A text that counts the characters that were cut out of it, or searched."""

    __slots__ = ()
    work: ClassVar[int] = 0

    def __getitem__(self, part: object) -> str:
        found = super().__getitem__(part)  # type: ignore[index]
        Counted.work += len(found)
        return found

    def find(self, *given: object) -> int:
        """Search."""
        found = super().find(*given)  # type: ignore[arg-type]
        Counted.work += (found if found >= 0 else len(self)) - int(str(given[1]))
        return found


def per_character(text: str, secrets: list[bytes]) -> float:
    """How often each character is looked at, where so many secrets are known."""
    Counted.work = 0
    KnownSecrets(secrets).replaced(Counted(text), REMOVED)
    return Counted.work / len(text)


@pytest.mark.parametrize("text", ["the resource mail/mx was probed " * 100, "a" * 3000, "ab" * 1500])
def test_more_secrets_cost_a_text_no_more(text: str) -> None:
    """Even those that a tenant made for it, which all begin as the text does and end in something else."""
    bait = [text[: PIECE - 8].encode() + str(number).zfill(8).encode() for number in range(3000)]
    bait += [text[:length].encode() + b"!" for length in range(6, 200)]
    few, many = per_character(text, bait[-194:]), per_character(text, bait)
    assert many <= few + 1
    assert many < PIECE * PIECE


def test_a_key_that_never_ends_costs_no_more_than_its_line() -> None:
    """Each character is looked at twice at most, however many keys begin and do not end."""
    for text in (BEGIN * 1000, f"{BEGIN}\n" * 1000, f"{BEGIN}{'x' * 50}" * 1000 + END, f"{END}{BEGIN}\n" * 1000):
        Counted.work = 0
        without_keys(Counted(text))
        assert Counted.work <= 2 * len(text)


@given(
    st.lists(st.sampled_from([BEGIN, END, "\n", "x", "\\n", "-----BEGIN ", "-----END CERTIFICATE-----"]), max_size=12)
)
def test_keys_end_where_the_nearest_end_is(parts: list[str]) -> None:
    """As a pattern would say it that takes its time."""
    pattern = re.compile(f"{BEGIN}(?:.*?{END}|[^\n]*)", re.DOTALL)
    assert without_keys("".join(parts)) == pattern.sub("(removed: a private key)", "".join(parts))


@given(st.integers(0, 2**32), st.integers(PIECE, 300), st.text(max_size=40))
def test_what_is_left_of_a_long_secret_in_a_text_is_removed_too(seed: int, length: int, around: str) -> None:
    """A message that Kubernetes cut in the middle holds a part of it."""
    secret = Random(seed).randbytes(length).hex()
    left = KnownSecrets([secret.encode()]).replaced(f"{around} {secret[: len(secret) - 20]}", REMOVED)
    assert not any(secret[at : at + PIECE] in left for at in range(0, len(secret) - 20 - PIECE, PIECE))


@pytest.mark.parametrize(
    "secret", ['quo"ted and long', "back\\slash and long", "two\nlines, both long", "pässword-lang"]
)
def test_secret_that_json_or_an_address_writes_otherwise_is_found(secret: str) -> None:
    """As a line of a log in JSON has it, and a URL."""
    known = KnownSecrets([secret.encode()])
    for ascii_alone in (True, False):
        assert known.replaced(json.dumps({"said": secret}, ensure_ascii=ascii_alone), "-") == '{"said": "-"}'
    assert known.replaced(f"https://a/?q={quote(secret, safe='')}&b", "-") == "https://a/?q=-&b"


def test_deadline_ends_the_search_within_a_text() -> None:
    """A text of a megabyte takes no longer than the time that is left."""
    known = KnownSecrets([SECRET.encode()])
    with within(0), pytest.raises(TimeoutError):
        known.replaced("x" * 1000, REMOVED)


def test_namespace_whose_secrets_are_too_large_is_left_out_and_takes_no_other_with_it() -> None:
    """Whoever writes Secrets with our label decides how much is to be searched for, and loses only their own files."""
    contents = Contents()
    for namespace, entry in (("huge", b"x" * MOST_LEARNED), ("mail", SECRET.encode())):
        found = {"metadata": {"name": "mx", "namespace": namespace}, "data": {"tls.key": b64encode(entry).decode()}}
        reader = Reader(Listing(found))
        add_secrets(reader, contents, namespace, [{"metadata": {"name": "mx", "namespace": namespace}}])
        contents.add_text(f"namespaces/{namespace}/mx/status.txt", f"it is {SECRET}")
        assert any("hold too much" in line for line in reader.missing) is (namespace == "huge")
    files, _missing = unpacked(contents, [])
    assert not any("huge" in name for name in files)
    assert files["namespaces/mail/mx/status.txt"] == f"it is {REMOVED}"


class Listing:
    """A cluster with one Secret."""

    def __init__(self, secret: Json) -> None:
        self.secret = secret

    def get(self, path: str) -> Json | None:
        """Return it, or the list that it is in."""
        return {"items": [self.secret]} if "?" in path else self.secret

    def list(self, path: str, *, label_selector: str = "") -> list[Json]:
        """Return nothing: a bundle reads pages."""
        raise NotImplementedError

    def text(self, path: str, *, most: int) -> tuple[str, bool]:
        """Return no text."""
        raise NotImplementedError


def test_texts_that_are_not_redacted_in_time_are_left_out_and_named() -> None:
    """A deadline that has passed leaves the names of the files and no word of what is in them."""
    contents = Contents()
    contents.known.add(SECRET.encode())
    contents.add_text("operator/log.txt", f"it is {SECRET}")
    contents.add("namespaces/mail/events.json", [{"message": SECRET}])
    noted = ["the Lease: it cannot be read", f"the CRD: {SECRET}"]
    with within(0):
        files, missing = unpacked(contents, noted)
    assert set(files) == {"README.txt", "missing.txt"}
    assert SECRET not in "".join((*files.values(), *missing))
    for name in ("operator/log.txt", "namespaces/mail/events.json"):
        assert f"{name}: the time was over" in files["missing.txt"]
    files, missing = unpacked(contents, noted)
    assert files["operator/log.txt"] == f"it is {REMOVED}"
    assert missing == [noted[0], f"the CRD: {REMOVED}"]


def test_redaction_ends_with_the_deadline_while_secrets_are_still_learned() -> None:
    """Before the first text is searched."""

    def secrets() -> object:
        yield SECRET.encode()
        raise AssertionError

    with within(0), pytest.raises(TimeoutError):
        KnownSecrets(secrets())  # type: ignore[arg-type]
    redactor = Redactor([SECRET.encode()])
    with within(0), pytest.raises(TimeoutError):
        redactor.text("")
    assert redactor.text(SECRET) == REMOVED


def unpacked(contents: Contents, noted: list[str]) -> tuple[dict[str, str], list[str]]:
    """Make the archive; return its files by name, and what is missing."""
    data, missing = contents.archive(datetime(2026, 11, 30, tzinfo=UTC), "It is of all namespaces.", noted)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as archive:
        opened = {each.name.partition("/")[2]: archive.extractfile(each) for each in archive.getmembers()}
        return {name: stream.read().decode() for name, stream in opened.items() if stream is not None}, missing
