"""What is said when there is nothing to watch, or no right to: one sentence per cause, and then it goes on."""

import threading
import time
from datetime import timedelta

import pytest
import structlog

from fakes.cluster import FakeCluster
from mailtls.api.reading.document import Json
from mailtls.api.workload import WorkloadKind
from mailtls.controller import watches
from mailtls.controller.watches import await_access
from mailtls.kube.interface import ApiError
from mailtls.kube.workloads import WATCHED
from mailtls.net.backoff import Backoff

DEFINITION = "/apis/mailtls.dev/v1alpha1"
NO_DEFINITION = (
    "The CustomResourceDefinition mailservertls.mailtls.dev is missing: apply crds/ of this version, then all goes on."
)
REMEDY = ": install the roles of the chart."


class Guarded(FakeCluster):
    """An API that refuses some paths."""

    def __init__(self) -> None:
        super().__init__()
        self.forbidden: set[str] = set()

    def get(self, path: str) -> Json | None:
        """Refuse, or look."""
        if path.partition("?")[0] in self.forbidden:
            raise ApiError(403, "Forbidden", "no")
        return super().get(path)


@pytest.fixture
def cluster() -> Guarded:
    """Give an API that knows our resource."""
    cluster = Guarded()
    cluster.objects[DEFINITION] = {"resources": [{"name": "mailservertls"}, {"name": "mailservertls/status"}]}
    return cluster


def wait(cluster: Guarded, *namespaces: str, seconds: float = 0.2) -> tuple[list[str], bool, threading.Event]:
    """Let it wait in a thread, and tell what it said so far and whether it still waits."""
    stopping, said = threading.Event(), []
    with structlog.testing.capture_logs() as logs:
        thread = threading.Thread(target=await_access, args=(cluster, namespaces, stopping), daemon=True)
        thread.start()
        thread.join(seconds)
        said = [line["event"] for line in logs]
    return said, thread.is_alive(), stopping


def test_with_everything_there_nothing_is_said(cluster: Guarded) -> None:
    """A complete installation starts at once."""
    assert wait(cluster)[:2] == ([], False)
    assert wait(cluster, "a", "b")[:2] == ([], False)
    assert "/api/v1/namespaces/b/secrets?limit=1" in cluster.reads
    assert await_access(cluster, (), threading.Event()) == WATCHED


def test_a_missing_definition_is_named(cluster: Guarded) -> None:
    """Who forgot the CRD is told what to apply."""
    cluster.objects.clear()
    said, waits, stopping = wait(cluster)
    stopping.set()
    assert waits
    assert said == [NO_DEFINITION]


@pytest.mark.parametrize(
    ("path", "namespaces", "sentence"),
    [
        (
            f"{DEFINITION}/mailservertls",
            (),
            "RBAC forbids the operator to list mailservertls.mailtls.dev in the whole cluster" + REMEDY,
        ),
        (
            "/api/v1/namespaces/mail/secrets",
            ("other", "mail"),
            "RBAC forbids the operator to list secrets in namespace mail" + REMEDY,
        ),
    ],
)
def test_a_missing_right_is_named(cluster: Guarded, path: str, namespaces: tuple[str, ...], sentence: str) -> None:
    """The sentence says which right is missing, and where."""
    cluster.forbidden.add(path)
    said, waits, stopping = wait(cluster, *namespaces)
    stopping.set()
    assert waits
    assert said == [sentence]


def test_workloads_that_may_not_be_watched_are_named_and_done_without(cluster: Guarded) -> None:
    """Roles of an earlier version keep the certificates going; only the pods' changes are noticed later."""
    cluster.forbidden.add("/apis/apps/v1/namespaces/mail/deployments")
    with structlog.testing.capture_logs() as logs:
        kinds = await_access(cluster, ("other", "mail"), threading.Event())
    assert kinds == (WorkloadKind.STATEFUL_SET, WorkloadKind.DAEMON_SET)
    (said,) = (line["event"] for line in logs)
    assert said.startswith("RBAC forbids the operator to list deployments.apps in namespace mail: pods that change are")


def test_what_lacks_is_said_once_and_waited_for(cluster: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it lasts the sentence is not repeated, and the work begins when the cause is gone."""
    tries: list[str] = []
    monkeypatch.setattr(watches, "LEADER", Backoff("leader", timedelta(seconds=0.02), timedelta(seconds=0.02)))
    cluster.is_down = True
    stopping = threading.Event()
    with structlog.testing.capture_logs() as logs:
        thread = threading.Thread(target=await_access, args=(cluster, (), stopping, tries.append), daemon=True)
        thread.start()
        time.sleep(0.2)
        assert thread.is_alive()
        cluster.is_down = False
        thread.join(1)
    assert not thread.is_alive()
    assert [line["event"] for line in logs] == ["the API server is down"]
    assert set(tries) == {"leader"}
