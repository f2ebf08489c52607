"""Structured logs on stderr: one JSON object a line for machines, coloured lines for people."""

import logging
import sys
from collections.abc import Iterable
from typing import Final

import structlog
from structlog.typing import Processor

from mailtls.settings import LogFormat

NOISY: Final = {
    "kopf": logging.WARNING,  # our own lines are about the start, the stop and each resource
    "kopf._core.reactor.running": logging.ERROR,  # it warns that signals are not its business
    "aiohttp.access": logging.WARNING,
    "urllib3": logging.ERROR,
    "websocket": logging.ERROR,
    "asyncio": logging.WARNING,
    "opentelemetry": logging.ERROR,  # a collector that is away is said once in a while, not for each span
}


def configure_logs(form: LogFormat, level: str) -> None:
    """Send structlog's and the standard library's messages down one road; call it once, at the start.

    Tracebacks never show the values of variables, which may be keys.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        # Its methods below the level do nothing at all: each step of each reconcile says something at debug.
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendered(form)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in NOISY.items():
        logging.getLogger(name).setLevel(max(least, root.level))


def _rendered(form: LogFormat) -> Iterable[Processor]:
    if form is LogFormat.JSON:
        return (structlog.processors.format_exc_info, structlog.processors.JSONRenderer())
    plain = structlog.dev.plain_traceback
    return (structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain),)
