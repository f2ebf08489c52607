"""The command line: `python -m testbed COMMAND`, where `--help` lists the commands."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from testbed import host, network, processes
from testbed.cluster import Cluster
from testbed.console import Trouble
from testbed.guard import guard
from testbed.layout import Layout, chosen_name, project_folder
from testbed.ready import ensure_up, prepare, refresh_operator_image
from testbed.suite import run_everything
from testbed.tools import ensure_tools


def main(arguments: list[str] | None = None) -> int:
    """Do what is asked; a Trouble is one sentence on the screen, not a traceback."""
    options = _parser().parse_args(arguments)
    try:
        cluster = Cluster(Layout.of(options.name, options.work))
        return int(_COMMANDS[options.command](cluster, options.rest))
    except Trouble as trouble:
        print(f"testbed: {trouble}", file=sys.stderr)
        return 1


def _up(cluster: Cluster, _rest: list[str]) -> int:
    ensure_up(cluster, with_operator=True)
    refresh_operator_image(cluster)
    print(f"export KUBECONFIG={cluster.layout.kubeconfig}")
    return 0


def _down(cluster: Cluster, _rest: list[str]) -> int:
    cluster.down()
    return 0


def _guard(cluster: Cluster, _rest: list[str]) -> int:
    guard(cluster)
    return 0


def _status(cluster: Cluster, _rest: list[str]) -> int:
    for name in processes.names(cluster.layout):
        record = processes.recorded(cluster.layout, name)
        state = "runs" if record and record.alive else "is dead"
        print(f"{name:26} {state} (pid {record.pid if record else '?'})")
    print(f"the cluster is {'up' if cluster.is_up else 'not up'}; its folder is {cluster.layout.work}")
    return 0 if cluster.is_up else 1


def _image(cluster: Cluster, _rest: list[str]) -> int:
    refresh_operator_image(cluster)
    return 0


def _prepare(_cluster: Cluster, _rest: list[str]) -> int:
    """Build what the cluster takes, where it can run at all; the tests themselves say what is left out."""
    if host.obstacle() is None:
        prepare(for_tests=True)
    return 0


def _tools(_cluster: Cluster, _rest: list[str]) -> int:
    print(ensure_tools().folder)
    return 0


def _test(cluster: Cluster, _rest: list[str]) -> int:
    return run_everything(cluster)


def _kubectl(cluster: Cluster, rest: list[str]) -> int:
    _inside(cluster, [cluster.tools.path("kubectl"), *rest])


def _helm(cluster: Cluster, rest: list[str]) -> int:
    _inside(cluster, [cluster.tools.path("helm"), *rest])


def _run(cluster: Cluster, rest: list[str]) -> int:
    _inside(cluster, rest or [os.environ.get("SHELL", "/bin/sh")])


def _inside(cluster: Cluster, command: list[str]) -> NoReturn:
    """Become the command, in the namespace, with the administrator's kubeconfig."""
    if not network.exists(cluster.layout) or not cluster.layout.kubeconfig.exists():
        message = f"cluster {cluster.layout.name} is not up: run `make cluster` first"
        raise Trouble(message)
    environment = {
        **os.environ,
        "KUBECONFIG": str(cluster.layout.kubeconfig),
        "PATH": f"{cluster.layout.bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "MAILTLS_TESTBED": cluster.layout.name,
    }
    argv = processes.inside(cluster.layout, command)
    os.chdir(project_folder() if command[0] == "make" else Path.cwd())
    os.execvpe(argv[0], argv, environment)  # noqa: S606  # a person's own command line


_COMMANDS = {
    "up": _up,
    "down": _down,
    "guard": _guard,
    "status": _status,
    "image": _image,
    "prepare": _prepare,
    "tools": _tools,
    "test": _test,
    "kubectl": _kubectl,
    "helm": _helm,
    "run": _run,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="testbed", description=__doc__)
    parser.add_argument("--name", default=chosen_name(), help="the cluster's name")
    parser.add_argument("--work", type=Path, default=None, help="its work folder")
    parser.add_argument("command", choices=sorted(_COMMANDS))
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    return parser


if __name__ == "__main__":
    sys.exit(main())
