"""Workloads that do not replace their pods by themselves: what a person has to do is said, and seen when it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from testbed.mailserver import MailServer
from testbed.sandbox import MAIL_SERVER_TLS, condition_of

if TYPE_CHECKING:
    from e2e.installation import Installation
    from testbed.api import Object

pytestmark = pytest.mark.cluster

ON_DELETE = {"type": "OnDelete", "rollingUpdate": None}
PARTITIONED = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}


@pytest.mark.parametrize(
    ("strategy", "by_hand"), [(ON_DELETE, ["postfix-0", "postfix-1"]), (PARTITIONED, ["postfix-0"])]
)
def test_pods_that_a_person_has_to_replace_are_said_and_then_judged_by_what_they_serve(
    installation: Installation, strategy: dict[str, Any], by_hand: list[str]
) -> None:
    """No time-out blames the workload; once the pods serve the certificate it is rolled out, whatever the revision."""
    server = MailServer(installation.sandbox, installation.zone.host("mx"), sub_path=True).deploy()
    installation.sandbox.patch("statefulsets.apps", server.name, {"spec": {"updateStrategy": strategy}})
    installation.start()
    workload = {"kind": server.kind, "name": server.name, "updateStrategy": "Restart"}
    installation.apply(workloads=[workload], rollout={"timeout": "10s"})
    installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", lambda seen: "yourself" in told(seen), within=60)
    uids = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in server.pods()}
    for name in by_hand:
        installation.sandbox.delete("pods", name)
    installation.await_ready(within=60)
    after = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in server.pods()}
    assert [name for name in by_hand if uids[name] == after[name]] == []


def told(seen: Object | None) -> str:
    """What is said of the rollout, where it has not failed."""
    condition = condition_of(seen, "RolledOut") or {"reason": "", "message": ""}
    return str(condition["message"]) if condition["reason"] == "RollingOut" else ""
