"""Sends spans to an OpenTelemetry collector, by OTLP over HTTP; the only module that imports OpenTelemetry.

Its queue is bounded, and a thread of its own sends: a collector that is away, or never answers, costs the spans that
do not fit into the queue, and no reconcile any time. All settings but those here are OpenTelemetry's own variables.
"""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from typing import Any, Final

from mailtls import __version__
from mailtls.net import tracing
from mailtls.net.tracing import Value, presentable
from mailtls.settings import InvalidSettings, Settings

SPAN_ATTRIBUTES: Final = 24
_STANDARD: Final[Mapping[str, str]] = {
    "namespace": "k8s.namespace.name",
    "pod": "k8s.pod.name",
    "container": "k8s.container.name",
    "method": "http.request.method",
    "status": "http.response.status_code",
    "server": "server.address",
    "error": "error.type",
}
_HINT: Final = "run pip install '.[otel]' in a copy of the repository, or use the image, which has it"


class Exported:
    """Implements `tracing.Spans` by a tracer of OpenTelemetry."""

    def __init__(self, tracer: Any, current: Any, failed: Any) -> None:
        self._tracer, self._current, self._failed = tracer, current, failed

    @contextmanager
    def span(self, name: str, attributes: dict[str, Value]) -> Iterator["_Exported"]:
        """Begin one; what it says of an exception is its type alone, as its text may be a stranger's."""
        with self._tracer.start_as_current_span(
            name, attributes=_named(attributes), record_exception=False, set_status_on_exception=False
        ) as begun:
            try:
                yield _Exported(begun)
            except Exception as error:
                begun.set_attribute("error.type", type(error).__name__)
                begun.set_status(self._failed)
                raise

    def note(self, attributes: dict[str, Value]) -> None:
        """Add attributes to the current one."""
        self._current().set_attributes(_named(attributes))

    def is_under_way(self) -> bool:
        """Whether this thread has one, exported or left out by a sampler."""
        return bool(self._current().get_span_context().is_valid)


class _Exported:
    def __init__(self, span: Any) -> None:
        self._span = span

    def note(self, **attributes: Value) -> None:
        """Add attributes."""
        self._span.set_attributes(_named(attributes))


def _named(attributes: Mapping[str, Value]) -> dict[str, Any]:
    return {
        _STANDARD.get(name, f"mailtls.{name}"): presentable(value)
        for name, value in attributes.items()
        if value is not None
    }


class Traces:
    """What sends them; `stop` ends within some seconds, whatever the collector does."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider

    def stop(self, grace: float) -> bool:
        """Send what is left, for so many seconds at most; False where something was left."""
        tracing.collect_by(None)
        ending = Thread(target=self._provider.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(grace)
        return not ending.is_alive()


def start_traces(settings: Settings) -> Traces | None:
    """Begin to collect where the settings say so; raises `InvalidSettings` where OpenTelemetry is not installed."""
    if not settings.has_traces:
        return None
    try:
        from opentelemetry import trace  # noqa: PLC0415 - nothing of it is loaded where nobody collects
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import SpanLimits, TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as missing:
        raise InvalidSettings(f"Traces are switched on, but OpenTelemetry is not installed: {_HINT}.") from missing
    resource = Resource(_about_us(settings)).merge(OTELResourceDetector().detect())  # the environment goes first
    try:
        limits = SpanLimits(max_span_attributes=SPAN_ATTRIBUTES, max_attribute_length=2 * tracing.LONGEST)
        provider = TracerProvider(resource=resource, span_limits=limits, shutdown_on_exit=False)
        with _signals_blocked():
            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    except ValueError as invalid:
        raise InvalidSettings(f"A variable OTEL_... makes no sense: {invalid}.") from None
    failed = trace.Status(trace.StatusCode.ERROR)
    tracing.collect_by(Exported(provider.get_tracer("mailtls", __version__), trace.get_current_span, failed))
    return Traces(provider)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block them for threads that begin meanwhile: one that had SIGTERM delivered would end the process on the spot."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _about_us(settings: Settings) -> dict[str, str]:
    named = {"k8s.namespace.name": settings.namespace, "k8s.pod.name": settings.pod_name}
    given = {name: value for name, value in named.items() if value}
    return {
        "service.name": "mailtls",
        "service.version": __version__,
        "service.instance.id": settings.identity,
        **given,
    }
