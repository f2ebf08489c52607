"""The operator's process with next to no work: each pass is logged and notes the generation in the status.

With BARE_STUCK=1 a pass never ends; it stands for a worker that hangs in the network.
"""

import os
import sys
import time
from functools import partial
from typing import Any

import structlog

from mailtls.api.spec import Key
from mailtls.controller.lifetime import Operator
from mailtls.controller.parts import Parts, Work
from mailtls.kube.login import configure
from mailtls.logs import configure_logs
from mailtls.settings import Settings

log = structlog.get_logger()


def build(parts: Parts) -> Work:
    """Wire the little there is."""

    def reconcile(key: Key) -> float | None:
        parts.leadership.require()
        log.info("pass", key=str(key))
        if os.environ.get("BARE_STUCK"):
            time.sleep(3600)
        path = f"/apis/mailtls.dev/v1alpha1/namespaces/{key.namespace}/mailservertls/{key.name}"
        seen = parts.cluster.get(path)
        if seen is not None:
            _note(parts, path, seen)
        return None

    return Work(begin=lambda: None, restore=lambda _resource: None, note_event=lambda _key: None, reconcile=reconcile)


def _note(parts: Parts, path: str, seen: dict[str, Any]) -> None:
    generation = seen["metadata"]["generation"]
    if seen.get("status", {}).get("observedGeneration") != generation:
        parts.cluster.merge(f"{path}/status", {"status": {"observedGeneration": generation}})


if __name__ == "__main__":
    given = Settings.from_environment(os.environ)
    configure_logs(given.log_format, given.log_level)
    code = Operator(given, partial(configure, None, given.kubeconfig), build).run()
    sys.stderr.flush()
    os._exit(code)
