"""A cluster of these tests' own: it comes, is killed, comes again and goes, and the machine is as it was."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from testbed import cgroups, processes
from testbed.api import Api
from testbed.cluster import Cluster
from testbed.guard import belonging, hold, start_guard, take_down_orphans
from testbed.layout import Layout, cache_folder
from testbed.mailserver import MailServer
from testbed.ready import ensure_up
from testbed.record import Record, end, start_time
from testbed.sandbox import PATIENCE, Sandbox
from testbed.traces import Traces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("host_network"), pytest.mark.xdist_group("own-cluster")]


@pytest.fixture
def own() -> Iterator[Cluster]:
    """Name a cluster that nobody else uses; it is taken down whatever happens."""
    with belonging(Cluster(Layout.of(f"own{secrets.token_hex(3)}"))) as cluster:
        yield cluster


def others(own: Cluster) -> tuple[Layout, ...]:
    """Name the clusters that may come and go meanwhile."""
    folders = (cache_folder() / "clusters").glob("*")
    return tuple(Layout.of(folder.name) for folder in folders if folder.name != own.layout.name)


def deploy(cluster: Cluster) -> Sandbox:
    """Run a mail server in it: containers, shims, mounts, links and rules that must go again."""
    sandbox = Sandbox.create(cluster, Api(cluster.layout))
    MailServer(sandbox, host="mx.example.test").deploy()
    return sandbox


def test_cluster_comes_again_after_it_was_killed_and_leaves_nothing_behind(own: Cluster) -> None:
    """Killed while it starts, killed while pods run: the next start cleans up.

    When the process is killed that a cluster belongs to, no trace of the cluster stays.
    """
    before = Traces.take(own.layout, others=others(own))
    kill_while_it_starts(own)
    ensure_up(own)
    deploy(own)
    assert Traces.take(own.layout) != before
    kill_everything_but_the_containers(own)
    assert not own.is_up
    ensure_up(own)
    sandbox = deploy(own)
    own.restart_apiserver()
    assert len(sandbox.objects("pods")) == 2
    kill_whom_it_belongs_to(own)
    assert Traces.take(own.layout, others=others(own)) == before
    assert not own.layout.work.exists()


def test_what_owner_and_guard_left_is_taken_down_and_what_either_holds_is_not(tmp_path: Path) -> None:
    """A machine that runs out of memory may kill the guard too: whoever needs a cluster then cleans up after both."""
    lost = Cluster(Layout.of(f"lost{secrets.token_hex(3)}"))
    lost.layout.work.mkdir(parents=True)
    with hold(tmp_path, lost) as held, start_guard(lost, subprocess.PIPE, held.fileno()) as guard:
        guard.kill()
        guard.wait()
        take_down_orphans(tmp_path)
        assert lost.layout.work.exists(), "its owner still lives"
        second = start_guard(lost, subprocess.PIPE, held.fileno())
    take_down_orphans(tmp_path)
    assert lost.layout.work.exists(), "its guard still lives"
    with second:
        second.kill()
    take_down_orphans(tmp_path)
    assert not lost.layout.work.exists()
    assert not list(tmp_path.iterdir())


def test_process_that_got_a_recycled_id_is_not_ended(own: Cluster) -> None:
    """A record whose start time is another one speaks of somebody else."""
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        started = start_time(stranger.pid)
        assert started is not None
        record = Record("etcd", stranger.pid, started - 1)
        end(record, grace=0.1)
        assert stranger.poll() is None
        end(Record("etcd", stranger.pid, started), grace=2.0)
        assert start_time(stranger.pid) is None
    finally:
        stranger.kill()


def kill_while_it_starts(own: Cluster) -> None:
    """Kill the program that starts the cluster as soon as its first processes run."""
    # It dies with this process too: one that outlived it would bring the cluster up after the guard took it down.
    command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "testbed", "--name", own.layout.name, "up"]
    starter = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    deadline = time.monotonic() + PATIENCE
    try:
        while not processes.is_alive(own.layout, "kube-apiserver"):
            assert time.monotonic() < deadline
            assert starter.poll() is None
            time.sleep(0.05)
    finally:
        starter.kill()
        starter.wait()


def kill_whom_it_belongs_to(own: Cluster) -> None:
    """Start one more guard, on the life of a process that is killed as a test run may be."""
    life, held = os.pipe()
    owner = subprocess.Popen(["sleep", "600"], pass_fds=[held])
    os.close(held)
    with open(life, "rb") as pipe, start_guard(own, pipe) as guard:  # noqa: PTH123  # a descriptor
        owner.kill()
        owner.wait()
        assert guard.wait() == 0


def kill_everything_but_the_containers(own: Cluster) -> None:
    """As an impatient person does it: no order, no clean-up, and half of the records lost."""
    names = processes.names(own.layout)
    records = [processes.recorded(own.layout, name) for name in names]
    for record in records:
        assert record is not None
        record.signal(signal.SIGKILL)
    for name in names[::2]:
        (own.layout.records / f"{name}.json").unlink()
    assert cgroups.members(own.layout), "containers and shims outlive containerd"
