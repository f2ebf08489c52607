"""Reading of moments."""

import pytest

from mailtls.times import parse_rfc3339


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-01:00", "soon"])
def test_moment_that_no_clock_shows_is_no_moment(text: str) -> None:
    """The error is the one that readers of strangers' texts expect."""
    with pytest.raises(ValueError):
        parse_rfc3339(text)
