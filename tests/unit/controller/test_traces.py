"""Settings of OpenTelemetry that make no sense."""

import sys

import pytest

from mailtls.controller.traces import start_traces
from mailtls.settings import InvalidSettings, Settings

SETTINGS = Settings(namespace="mailtls", identity="one", has_traces=True)


@pytest.mark.parametrize("variable", ["OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT"])
def test_variable_that_makes_no_sense_is_named(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence, before any work begins."""
    monkeypatch.setenv(variable, "many")
    with pytest.raises(InvalidSettings, match=r"OTEL_\.\.\. makes no sense"):
        start_traces(SETTINGS)


def test_traces_without_their_packages_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is published, so the hint says how to install from a copy of the repository."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)  # as if it were not installed
    with pytest.raises(InvalidSettings, match=r"OpenTelemetry is not installed: run pip install '\.\[otel\]'"):
        start_traces(SETTINGS)
