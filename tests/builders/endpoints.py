"""Two pods with two ports each, and what a probe saw at them."""

from datetime import timedelta

from builders.contexts import a_context
from builders.stories import NOW
from mailtls.api.workload import Daemon, UpdateStrategy, Workload, WorkloadKind
from mailtls.context import Context
from mailtls.kube.workload import PodState, Reader, WorkloadState
from mailtls.probe.target import Endpoint, Port, TlsMode, TlsPolicy
from mailtls.reasons.reason import Finding
from mailtls.rollout.steps import RollProgress
from mailtls.verification.evidence import targets

PORTS = (
    Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC),
    Port(465, TlsMode.IMPLICIT, TlsPolicy.ENFORCED),
)
POSTFIX = Workload(WorkloadKind.STATEFUL_SET, "postfix", UpdateStrategy.RELOAD, (Daemon("postfix", PORTS),))
PODS = tuple(
    PodState(f"postfix-{n}", f"uid-{n}", (f"198.51.100.{n}",), ready=True, readers=(Reader(),)) for n in range(2)
)


def proven(*failing: Finding) -> Context:
    """Two pods with two ports each; the first endpoints fail as told."""
    states = (WorkloadState(POSTFIX, pods=PODS, replicas_wanted=2),)
    faults: list[tuple[Finding, ...]] = [(each,) for each in failing]
    every = targets(states, "mx.example.test")
    faults += [()] * (len(every) - len(faults))
    endpoints = tuple(
        Endpoint(target, NOW, found, served_sha256="00" * 32 if found else "aa" * 32)
        for target, found in zip(every, faults, strict=True)
    )
    progress = RollProgress(NOW, timedelta(minutes=10))
    return a_context(workloads=states, endpoints=endpoints, probed_at=NOW, progress=progress)
