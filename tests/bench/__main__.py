"""`python -m bench [operator] [probe] [isolation] [rollout] [page]`: measure all or these, write build/bench.json.

A missed target is said clearly, but is no error unless it is binding: whether it matters is for whoever reads the
figures.
"""

from __future__ import annotations

import os
import signal
import sys

from rich.console import Console

from bench import bare, isolation, measures, page, probing, rolling
from bench.figures import Chapter, missed, table, write
from bench.stage import Stage, stage
from bench.stuck import unless_stuck
from mailtls.logs import configure_logs
from mailtls.settings import LogFormat
from testbed.cluster import Cluster
from testbed.console import Trouble, say, step
from testbed.layout import Layout, project_folder
from testbed.ready import ensure_up
from testbed.sandbox import TooLate


def main() -> int:
    """Measure everything; 1 when it could not be measured, or a binding target was missed."""
    configure_logs(LogFormat.TEXT, "warning")  # the operator's own code runs in here too, as quietly as in the operator
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clear the stage away then, too
    try:
        wanted = sys.argv[1:] or list(_PARTS)
        chapters = [chapter for part in wanted for chapter in _PARTS[part]()]
    except (Trouble, TooLate) as trouble:
        print(f"bench: {trouble}; the operator's log is bench.log among the cluster's logs", file=sys.stderr)
        return 1
    file = project_folder() / "build" / "bench.json"
    write(file, chapters)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table(chapters))
    late = missed(chapters)
    for figure in late:
        console.print(
            f"[bold red]MISS[/bold red] {figure.name}: {figure.value:.4g} {figure.unit}, not {figure.target:g}"
        )
    console.print(
        f"{len(late)} of {_aimed(chapters)} targets missed; the figures are in {file.relative_to(project_folder())}"
    )
    return int(any(figure.is_binding for figure in late))


def _aimed(chapters: list[Chapter]) -> int:
    return sum(figure.target is not None for chapter in chapters for figure in chapter.figures)


def _cluster() -> Cluster:
    cluster = Cluster(Layout.of())
    if not cluster.is_up:  # the operator's image is not needed: it runs as a process here
        ensure_up(cluster)
    return cluster


def _isolation() -> list[Chapter]:
    return [isolation.chapter(_cluster())]


def _rollout() -> list[Chapter]:
    return rolling.chapters(_cluster())


def _operator() -> list[Chapter]:
    cluster = _cluster()
    return unless_stuck(lambda: stage(cluster), _measured)


def _measured(ready: Stage) -> list[Chapter]:
    chapters = []
    say(f"one minute's load average before: {os.getloadavg()[0]:.1f}")
    with step("one resource at a time"):
        chapters.append(measures.latency(ready))
    with step("requests to the CA"):
        chapters.append(measures.acme_requests(ready))
    with step(f"{measures.MANY} certificates without Kubernetes"):
        rate = bare.bare_rate(ready, measures.MANY)
    with step(f"{measures.MANY} resources at once"):
        chapters.append(measures.throughput(ready, rate))
    with step(f"{measures.IDLE_RESOURCES} resources at rest"):
        chapters.append(measures.idle(ready))
    return chapters


_PARTS = {
    "operator": _operator,
    "probe": probing.chapters,
    "isolation": _isolation,
    "rollout": _rollout,
    "page": page.chapters,
}


if __name__ == "__main__":
    sys.exit(main())
