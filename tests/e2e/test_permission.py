"""A rollout that people let go on: approval, pause and windows over real pods, by the commands that a person types."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from e2e.events import await_told, told
from e2e.installation import SECRET
from e2e.person import mailtls
from e2e.served import served_fingerprint
from testbed.mailserver import PORTS, MailServer
from testbed.sandbox import MAIL_SERVER_TLS, condition_of

if TYPE_CHECKING:
    from e2e.installation import Installation
    from testbed.api import Object

pytestmark = pytest.mark.cluster

ANNOTATION = f"mailtls.dev/certificate.{SECRET}"


def test_rollout_waits_for_a_person_and_for_its_window_and_goes_on(installation: Installation) -> None:
    """The first certificate waits for nobody; each later one is begun as far as people let it, and all are Ready."""
    postfix = MailServer(installation.sandbox, installation.zone.host("mx"), replicas=3, keeps=True).deploy()
    installation.start()
    workloads = [{"kind": postfix.kind, "name": postfix.name}]
    installation.apply(workloads=workloads, rollout={"approval": "Required", "windows": [closed_now()]})
    installation.await_ready()
    assert installation.fingerprint() == served(installation, postfix)  # it was self-signed, which no client trusts

    installation.apply(workloads=workloads, rollout={"approval": "Required"})
    installation.renew("approved after its canary")
    await_waiting(installation, "WaitingForApproval")
    assert (begun(installation, postfix), counted(installation)) == (1, (3, 1, 0, 2))
    shown = mailtls(installation, "rollout", "status", "mx")
    assert shown.returncode == 1, shown
    assert ["StatefulSet/postfix", "3", "1", "0", "2"] in [line.split() for line in shown.stdout.splitlines()], shown
    assert "RolledOut is False (WaitingForApproval)" in shown.stdout

    assert mailtls(installation, "rollout", "pause", "mx").returncode == 0
    await_waiting(installation, "RolloutPaused")
    assert mailtls(installation, "rollout", "approve", "mx").returncode == 2  # it waits for another decision
    approved = mailtls(installation, "rollout", "approve", "mx", installation.fingerprint()[:8])
    assert installation.fingerprint() in approved.stdout, approved
    await_waiting(installation, "RolloutPaused")
    assert begun(installation, postfix) == 1
    assert mailtls(installation, "rollout", "resume", "mx").returncode == 0
    await_done(installation, postfix)
    assert mailtls(installation, "rollout", "status", "mx").returncode == 0

    installation.renew("another needs an approval of its own")
    await_waiting(installation, "WaitingForApproval")
    assert begun(installation, postfix) == 1
    assert mailtls(installation, "rollout", "approve", "mx", "ffffffff").returncode == 2
    assert mailtls(installation, "rollout", "approve", "mx").returncode == 0
    await_done(installation, postfix)

    windows = {"windows": [closed_now()], "urgentBefore": "0s"}
    installation.apply(workloads=workloads, rollout=windows)
    renewed = mailtls(installation, "renew", "mx", "--wait", "--timeout", "240")
    assert renewed.returncode == 0, renewed
    assert "is Ready (WaitingForWindow)" in renewed.stdout
    await_waiting(installation, "WaitingForWindow")
    assert begun(installation, postfix) == 0
    await_told(installation, ("Normal", "WaitingForWindow"))
    assert told(installation).count(("Normal", "WaitingForWindow")) == 1
    installation.apply(workloads=workloads, rollout=windows | {"urgentBefore": "8760h"})
    await_done(installation, postfix)


def closed_now() -> Object:
    """Give a window that is half a day away."""
    hour = (datetime.now(UTC).hour + 12) % 24
    return {"schedule": f"0 {hour} * * *", "duration": "5m"}


def await_waiting(installation: Installation, reason: str) -> None:
    """Wait until the rollout waits for this; the resource is Ready meanwhile, and says why all is not done."""

    def waits(seen: Object | None) -> bool:
        rolled, ready = condition_of(seen, "RolledOut"), condition_of(seen, "Ready")
        return rolled is not None and ready is not None and rolled["reason"] == ready["reason"] == reason

    seen = installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", waits)
    statuses = {name: (condition_of(seen, name) or {})["status"] for name in ("RolledOut", "Verified", "Ready")}
    assert statuses == {"RolledOut": "False", "Verified": "True", "Ready": "True"}


def await_done(installation: Installation, postfix: MailServer) -> None:
    """Wait until every pod serves the certificate that is stored now."""

    def is_done(seen: Object | None) -> bool:
        rolled, ready = condition_of(seen, "RolledOut"), condition_of(seen, "Ready")
        return rolled is not None and rolled["status"] == "True" and ready is not None and ready["status"] == "True"

    installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", is_done)
    assert begun(installation, postfix) == 3
    assert installation.fingerprint() == served(installation, postfix)


def begun(installation: Installation, postfix: MailServer) -> int:
    """Count the pods that were reloaded with the certificate that is stored now."""
    annotated = [(pod["metadata"].get("annotations") or {}).get(ANNOTATION) for pod in postfix.pods()]
    return annotated.count(installation.fingerprint())


def counted(installation: Installation) -> tuple[int, ...]:
    """What the status counts of the pods."""
    (workload,) = installation.get()["status"]["rollout"]["workloads"]
    return tuple(workload[name] for name in ("pods", "proven", "inFlight", "waiting"))


def served(installation: Installation, postfix: MailServer) -> str:
    """The one certificate that all ports of all pods serve."""
    (fingerprint,) = {
        served_fingerprint(address, port, postfix.host, installation.pebble.root())
        for address in postfix.addresses().values()
        for port in PORTS.values()
    }
    return fingerprint
