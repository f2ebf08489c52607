"""Who lists all Secrets of a cluster: one at a time, whoever asks, and nobody is told what was so before he asked."""

import threading
from concurrent.futures import ThreadPoolExecutor

from builders.pairs import RESOURCE, fresh
from builders.stories import desired
from fakes.cluster import FakeCluster
from mailtls.api.reading.document import Json
from mailtls.kube.secrets import Secrets


class Slow(FakeCluster):
    """An API server whose lists are on their way for as long as the test likes; it counts those that are."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.may_end = threading.Semaphore(0), threading.Event()
        self.here = self.most = 0
        self._counting = threading.Lock()

    def list(self, path: str, *, label_selector: str = "") -> list[Json]:
        """Read at once, and answer later."""
        found = super().list(path, label_selector=label_selector)
        with self._counting:
            self.here += 1
            self.most = max(self.most, self.here)
        self.begun.release()
        self.may_end.wait(30)
        with self._counting:
            self.here -= 1
        return found


def test_many_that_ask_at_once_share_few_lists_and_none_that_is_too_old() -> None:
    """The first list is older than the second order: who asks after that was staged waits for another one."""
    cluster = Slow()
    secrets = Secrets(cluster)
    first = secrets.stage(desired(), fresh(), RESOURCE)
    with ThreadPoolExecutor(8) as pool:
        early = pool.submit(secrets.open_orders)
        cluster.begun.acquire()
        second = secrets.stage(desired(secret_name="other"), fresh(), RESOURCE)
        late = [pool.submit(secrets.open_orders) for _ in range(7)]
        cluster.may_end.set()
        ours = {(each.spki_sha256, each.acme_server) for each in (first, second)}
        assert early.result(30) <= ours
        assert all(each.result(30) == ours for each in late)
    assert cluster.most == 1
