"""Liveness: a worker that is stuck in a step is seen, one that waits as it may is not."""

from builders.stories import desired
from builders.whole_reconcile import WholeReconcile
from mailtls.controller.bulkheads import GRACE, Watchdog
from mailtls.kube.interface import Executed
from mailtls.rollout.decide import ReadWorkloads


def test_worker_stuck_in_a_step_is_seen_until_the_step_ends() -> None:
    """The sentence names the resource and the step, for whoever reads why the kubelet restarted the pod."""
    time = [0.0]
    watchdog = Watchdog(monotonic=lambda: time[0])
    with watchdog.watch(ReadWorkloads(), desired()):
        time[0] += ReadWorkloads.deadline.seconds + GRACE
        assert watchdog.stuck() is None
        time[0] += 1
        assert watchdog.stuck() == "a worker is stuck: ReadWorkloads of mail/mx has not ended for 151 seconds"
    assert watchdog.stuck() is None


def test_worker_that_comes_near_to_being_stuck_is_counted() -> None:
    """An alert goes off while somebody can still look at it: the restart ends that."""
    time = [0.0]
    watchdog = Watchdog(monotonic=lambda: time[0])
    with watchdog.watch(ReadWorkloads(), desired()):
        time[0] += (ReadWorkloads.deadline.seconds + GRACE) / 2
        assert watchdog.late() == 0
        time[0] += 1
        assert watchdog.late() == 1
    assert watchdog.late() == 0


def test_reconciler_has_each_step_watched() -> None:
    """The step that tells a pod is known while it lasts, and no other afterwards."""
    passes, known = WholeReconcile(pods=1), list[str]()

    def note(_pod: str) -> Executed:
        known.extend(each.step for each in passes.reconcile.watchdog._begun.values())
        return Executed(0, "", "")

    passes.cluster.on_reload = note
    passes.run()
    assert known == ["Roll"]
    assert not passes.reconcile.watchdog._begun
