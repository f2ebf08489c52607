"""Which of several resources keeps a Secret."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mailtls.model.spec import Key
from mailtls.world.cluster.claims import Claims


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
