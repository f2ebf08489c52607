"""Settings of OpenTelemetry that make no sense."""

import pytest

from mailtls.controller.traces import start_traces
from mailtls.settings import InvalidSettings, Settings


@pytest.mark.parametrize("variable", ["OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT"])
def test_variable_that_makes_no_sense_is_named(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence, before any work begins."""
    monkeypatch.setenv(variable, "many")
    with pytest.raises(InvalidSettings, match=r"OTEL_\.\.\. makes no sense"):
        start_traces(Settings(namespace="mailtls", identity="one", has_traces=True))
