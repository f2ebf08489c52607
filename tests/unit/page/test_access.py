"""Who may see what on the status page: reviews, what is kept of them, and what a flood of rubbish costs."""

import pytest

from builders.guarded_page import PEOPLE, PeoplesApi
from mailtls.api.spec import Key
from mailtls.page.access import BURST, KEPT, MOST_KEPT, RATE, Access, Question, TooMany
from mailtls.page.overview import Search
from mailtls.page.site import Address


class Seconds:
    """Counts seconds as a test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return them."""
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    """A clock that stands still."""
    return Seconds()


def test_reader_may_what_the_api_server_says(seconds: Seconds) -> None:
    """Named to it with all that it had said of the user."""
    api = PeoplesApi()
    access = Access(api, seconds)
    user = access.user("mail-token")
    assert user is not None
    assert access.may(user, Question("list", "mail"))
    assert not access.may(user, Question("list"))
    assert not access.may(user, Question("get", "team-a", "relay"))
    asked = api.created[1]["spec"]
    assert (asked["user"], asked["groups"]) == ("mail", ["people"])
    assert asked["resourceAttributes"] == {
        "group": "mailtls.dev", "resource": "mailservertls", "verb": "list", "namespace": "mail", "name": "",
    }  # fmt: skip
    assert access.user("nobody") is None


def test_answers_are_kept_for_some_seconds_only(seconds: Seconds) -> None:
    """A right that was taken away ends soon, and a reader who loads a page ten times costs one review."""
    api = PeoplesApi()
    access = Access(api, seconds)
    for _ in range(10):
        user = access.user("root-token")
        assert user is not None
        assert access.may(user, Question("list"))
    assert len(api.created) == 2
    seconds.now += KEPT
    again = access.user("root-token")
    assert again is not None
    assert access.may(again, Question("list"))
    assert len(api.created) == 4


def test_flood_of_unknown_tokens_is_refused_and_known_readers_are_not(seconds: Seconds) -> None:
    """Rubbish has a budget of its own; nothing that is kept grows without an end, and no token is kept."""
    api = PeoplesApi()
    access = Access(api, seconds)
    assert access.user("root-token") is not None
    for number in range(BURST - 1):
        assert access.user(f"rubbish-{number}") is None
    with pytest.raises(TooMany):
        access.user("rubbish-more")
    seconds.now += KEPT
    api.created.clear()
    for number in range(int(KEPT * RATE) + 2):
        try:
            access.user(f"again-{number}")
        except TooMany:
            break
    assert len(api.created) <= BURST
    assert access.user("root-token") is not None
    assert access.is_proven("root-token")
    assert not access.is_proven("rubbish-0")
    assert "root-token" not in repr(vars(access._users))
    for number in range(2 * MOST_KEPT):
        access._users.put(number.to_bytes(4), (None,))
    assert len(access._users._entries) == MOST_KEPT


def test_user_who_asks_without_an_end_costs_few_reviews_and_no_other_reader_anything(seconds: Seconds) -> None:
    """Each pod has a token that the API server knows, whatever it may; several tokens of one user help no further."""
    api = PeoplesApi()
    access = Access(api, seconds)
    user, other = access.user("team-token"), access.user("root-token")
    assert user is not None
    assert other is not None
    api.created.clear()
    for number in range(BURST):
        assert not access.may(user, Question("list", f"namespace-{number}"))
    with pytest.raises(TooMany):
        access.may(user, Question("list", "more"))
    assert len(api.created) == BURST
    assert access.may(other, Question("list"))
    assert access.kept("root-token", Question("list")) == (other,)
    assert access.kept("team-token", Question("list", "namespace-0")) == (None,)
    assert access.kept("team-token", Question("list", "more")) is None
    seconds.now += KEPT
    assert access.kept("root-token", None) is None
    for number in range(BURST):
        assert not access.may(user, Question("list", f"namespace-{number}"))
    with pytest.raises(TooMany):
        access.user("team-token")
    assert access.user("root-token") == other


def test_address_takes_the_right_that_kubectl_would() -> None:
    """To list all, to list a namespace, to get one."""
    assert Question.of(Address()) == Question("list")
    assert Question.of(Address(search=Search(namespace="mail"))) == Question("list", "mail")
    assert Question.of(Address(key=Key("mail", "mx"))) == Question("get", "mail", "mx")
    assert set(PEOPLE) == {"root-token", "mail-token", "team-token"}
