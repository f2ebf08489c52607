"""Names of hosts in any script, and what people are shown of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtls.hostname import InvalidLabel, a_label, displayed, labels, named, zone_name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("mx1.example.com", "mx1.example.com"),
        ("mx1.xn--bcher-kva.example", "mx1.bücher.example (mx1.xn--bcher-kva.example)"),
        ("*.xn--bcher-kva.example", "*.bücher.example (*.xn--bcher-kva.example)"),
        ("xn--a.example", "xn--a.example"),
        ("", ""),
    ],
)
def test_name_is_shown_in_both_forms_where_they_differ(name: str, shown: str) -> None:
    """What no script can hold is shown as it stands."""
    assert named(name) == shown


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("Bücher.example.", "xn--bcher-kva.example"),
        ("_acme.Example.com", "_acme.example.com"),
        ("com", "com"),
    ],
)
def test_zone_is_normalised(text: str, zone: str) -> None:
    """In any script, with an underscore at the beginning of a label."""
    assert zone_name(text) == zone


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "bare domain"), (".", "bare domain"), ("*.example.com", "bare domain"), ("_bü.example", "IDNA 2008")],
)
def test_what_is_no_zone_is_refused(text: str, words: str) -> None:
    """One sentence says what to write."""
    with pytest.raises(ValueError, match=words):
        zone_name(text)


@given(st.text(max_size=40))
def test_any_label_is_ascii_or_refused(text: str) -> None:
    """Nothing else is ever raised, and what was made is shown as the same name again."""
    for label in labels(text):
        try:
            found = a_label(label)
        except InvalidLabel:
            continue
        assert found.isascii()
        assert a_label(displayed(found)) == found or label.isascii()
