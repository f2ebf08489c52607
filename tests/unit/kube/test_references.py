"""How the objects that resources refer to look."""

from datetime import UTC, datetime, timedelta

from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailtls.api.reading.document import Json
from mailtls.api.spec import DataRef
from mailtls.kube.interface import ApiError
from mailtls.kube.references import References
from mailtls.kube.snapshot import ObjectVersion

TSIG = DataRef("Secret", "mail", "tsig", "secret")
PATH = "/api/v1/namespaces/mail/secrets/tsig"


class Closed(FakeCluster):
    """Nobody may read."""

    def get(self, path: str) -> Json | None:
        """Refuse."""
        raise ApiError(403, "Forbidden", path)


def test_version_and_time_of_the_last_write_are_seen_and_nothing_else() -> None:
    """The newest of the field managers tells when; what the object holds is not kept."""
    cluster = FakeCluster()
    managers = [{"time": "2026-05-01T12:00:00Z"}, {"time": "2026-05-02T12:00:00Z"}, {}]
    metadata = {"resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": managers}
    cluster.objects[PATH] = {"metadata": metadata, "data": {"secret": "c2VjcmV0"}}
    assert References(cluster, WallClock()).look([TSIG]) == (
        ObjectVersion(PATH, "7", datetime(2026, 5, 2, 12, tzinfo=UTC)),
    )


def test_many_resources_with_one_secret_are_one_request() -> None:
    """A thousand that wait for one key do not load the API server."""
    cluster, clock = FakeCluster(), WallClock()
    looks = References(cluster, clock)
    for _ in range(3):
        assert looks.look([TSIG, TSIG]) == (ObjectVersion(PATH, ""),)
    assert cluster.reads == [PATH]
    clock.advance(timedelta(seconds=25))
    looks.look([TSIG])
    assert cluster.reads == [PATH, PATH]


def test_object_that_may_not_be_read_is_a_sight_too() -> None:
    """A missing right holds nothing up but itself."""
    assert References(Closed(), WallClock()).look([TSIG]) == (ObjectVersion(PATH, "refused with 403"),)
