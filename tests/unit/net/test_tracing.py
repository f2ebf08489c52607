"""Traces where nobody collects them: nothing is loaded, nothing is made."""

import subprocess
import sys

from mailtls.net import tracing


def test_nothing_is_made_where_nobody_collects() -> None:
    """Each span is the same object, and notes go nowhere."""
    with tracing.span("reconcile", resource="mx") as first, tracing.span("probe") as second:
        first.note(reason="Ready")
        tracing.note(reason="Ready")
    assert first is second


def test_opentelemetry_is_not_loaded_where_traces_are_off() -> None:
    """The whole operator is imported without it."""
    code = "import sys, mailtls.controller.lifetime as _; print([n for n in sys.modules if 'opentelemetry' in n])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="operator")
    assert done.stdout.strip() == "[]"
