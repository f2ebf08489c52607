"""Which of several resources keeps a Secret."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtls.api.spec import Key
from mailtls.kube.claims import Claims


def resource(name: str, names: str = "tls", created: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    """A resource that names a Secret."""
    meta = {"namespace": "mail", "name": name, "uid": f"uid-{name}", "creationTimestamp": created}
    return {"metadata": meta, "spec": {"secretName": names}}


def test_two_name_one_secret_older_holds_it() -> None:
    """Age decides, whoever was seen first."""
    claims = Claims()
    claims.note(resource("young", created="2026-02-01T00:00:00Z"))
    claims.note(resource("old"))
    assert claims.holder("mail", "tls") == Key("mail", "old")


def sharing(name: str, *workloads: str) -> dict[str, Any]:
    """A resource with a Secret of its own that names these StatefulSets."""
    made = resource(name, names=f"{name}-tls")
    listed = [{"kind": "StatefulSet", "name": each, "preset": "postfix"} for each in workloads]
    return made | {"spec": made["spec"] | {"workloads": listed}}


def test_resources_that_name_one_workload_know_of_each_other() -> None:
    """Each is woken when another comes, changes or goes; other namespaces and workloads are nobody's business."""
    claims, mx, imap = Claims(), Key("mail", "mx"), Key("mail", "imap")
    assert claims.note(sharing("mx", "postfix", "relay")) == frozenset()
    assert claims.sharers(mx) == {}
    assert claims.note(sharing("imap", "postfix")) == {mx}
    assert claims.sharers(mx) == {"StatefulSet/postfix": ("imap",)}
    assert claims.sharers(imap) == {"StatefulSet/postfix": ("mx",)}
    elsewhere = sharing("other", "postfix")
    elsewhere["metadata"]["namespace"] = "lists"
    assert claims.note(elsewhere) == frozenset()
    assert claims.note(sharing("imap", "dovecot")) == {mx}
    assert claims.sharers(mx) == {}
    claims.note(sharing("imap", "relay"))
    assert claims.forget(imap) == {mx}
    assert (claims.sharers(mx), claims.sharers(imap)) == ({}, {})


def test_older_one_goes_younger_is_woken_and_holds() -> None:
    """Whoever waited must not wait for ever."""
    claims = Claims()
    claims.prime([resource("old"), resource("young", created="2026-02-01T00:00:00Z")])
    assert claims.forget(Key("mail", "old")) == {Key("mail", "young")}
    assert claims.holder("mail", "tls") == Key("mail", "young")


def test_older_one_names_another_secret_younger_is_woken() -> None:
    """A changed secretName frees the old one."""
    claims = Claims()
    claims.prime([resource("old"), resource("young", created="2026-02-01T00:00:00Z")])
    assert claims.note(resource("old", names="other")) == {Key("mail", "young")}
    assert claims.holder("mail", "tls") == Key("mail", "young")


def test_same_name_in_another_namespace_is_another_secret() -> None:
    """Secrets live in namespaces."""
    claims = Claims()
    claims.note(resource("mx"))
    assert claims.holder("elsewhere", "tls") is None


@pytest.mark.parametrize("suffix", ["-next", "-previous"])
@pytest.mark.parametrize("is_first", [True, False])
def test_name_that_another_resource_needs_beside_its_own_is_held(suffix: str, *, is_first: bool) -> None:
    """A staged key or a previous pair of one must not be the serving Secret of another, whichever is older."""
    claims, younger = Claims(), "2026-02-01T00:00:00Z"
    names = ("tls", f"tls{suffix}") if is_first else (f"tls{suffix}", "tls")
    claims.prime([resource("old", names[0]), resource("young", names[1], created=younger)])
    assert {claims.holder("mail", name) for name in names} == {Key("mail", "old")}
    assert claims.note(resource("old", "other")) == {Key("mail", "young")}
    assert claims.holder("mail", names[1]) == Key("mail", "young")
    assert claims.forget(Key("mail", "young")) == frozenset()
    assert claims.holder("mail", names[1]) is None


def test_names_that_only_look_alike_are_free() -> None:
    """The names called after two others never meet."""
    claims = Claims()
    claims.prime([resource("a", "tls"), resource("b", "tls-next-tls"), resource("c", "mx-tls")])
    assert claims.holder("mail", "tls") == Key("mail", "a")
    assert claims.holder("mail", "tls-next-tls") == Key("mail", "b")
    assert claims.holder("mail", "mx-tls") == Key("mail", "c")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["s", "t", None])), max_size=20))
def test_any_history_index_tells_what_is_named_now(history: list[tuple[str, str | None]]) -> None:
    """After any sequence of changes and deletions the holder is the oldest that names the Secret now."""
    claims, now = Claims(), dict[str, str]()
    for name, secret in history:
        if secret is None:
            claims.forget(Key("mail", name))
            now.pop(name, None)
        else:
            claims.note(resource(name, secret))
            now[name] = secret
    for secret in ("s", "t"):
        holders = sorted(name for name, named in now.items() if named == secret)
        assert claims.holder("mail", secret) == (Key("mail", holders[0]) if holders else None)
