"""Where the fuzzer starts from: what good servers say and serve."""

from collections.abc import Iterator

from cryptography.hazmat.primitives.serialization import Encoding

from builders.dialogs import GOOD
from mailservers.certificates import Authority, Wanted
from mailtls.probe.target import Protocol


def seeds(name: str) -> Iterator[bytes]:
    """Yield the seeds of one target."""
    yield from _certificates() if name == "certificate" else _dialogs()


def _dialogs() -> Iterator[bytes]:
    for place, protocol in enumerate(Protocol):
        answers = GOOD[protocol].answers
        longest = max(map(len, answers))
        for stage in (0, 16, 32):
            # one segment each: a longer one would be answered before its end
            yield bytes([stage + place, longest - 1]) + b"".join(answer.ljust(longest, b" ") for answer in answers)
            yield bytes([stage + place, 0]) + b"".join(answers)


def _certificates() -> Iterator[bytes]:
    authority = Authority()
    for wanted in (Wanted(), Wanted(rsa_bits=2048), Wanted(names=()), Wanted(self_signed=True)):
        yield from (each.public_bytes(Encoding.DER) for each in authority.issue(wanted).chain)
