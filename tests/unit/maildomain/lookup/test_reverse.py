"""The names of an address, and whether they lead back."""

from typing import Any

import pytest

from mailtls.maildomain.lookup.records import Lookup
from mailtls.net.answer import Records


class _Resolver:
    def __init__(self, addresses: Records[str]) -> None:
        self._addresses = addresses

    def ask(self, name: str, kind: str, *_more: Any) -> Records[str]:
        return Records(name, kind, ("mx.example.com",)) if kind == "PTR" else self._addresses


@pytest.mark.parametrize(
    ("addresses", "confirmed", "failure"),
    [
        (("192.0.2.1",), ("mx.example.com",), ""),
        (("192.0.2.9",), (), ""),
        ((), (), "SERVFAIL"),
    ],
)
def test_lookup_that_fails_proves_nothing(addresses: tuple[str, ...], confirmed: tuple[str, ...], failure: str) -> None:
    """Neither that the name leads back nor that it does not."""
    lookup = Lookup.__new__(Lookup)
    object.__setattr__(lookup, "_resolver", _Resolver(Records("mx.example.com", "A", addresses, failure=failure)))
    found = lookup.reverse("192.0.2.1")
    assert (found.confirmed, found.names.failure) == (confirmed, failure)
