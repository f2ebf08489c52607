"""Features that an installation switches off: what asks for them is told so by name, and all else goes on."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from builders.contexts import a_context
from builders.stories import NOW, desired
from builders.whole_reconcile import WholeReconcile
from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from fakes.domains import Dns, Pods
from mailtls.api.installation import Feature, Features
from mailtls.api.presets import PRESETS
from mailtls.api.reading.document import Json
from mailtls.api.spec import Probe
from mailtls.api.workload import Daemon, Signal, SignalName, UpdateStrategy, Workload, WorkloadKind
from mailtls.cli.preflight import serving
from mailtls.cli.preflight.place import Place
from mailtls.domains.execute import DomainChecking
from mailtls.domains.policy import CheckDomains
from mailtls.kube.rights import ALWAYS, NEEDED, OF_FEATURES, Installation, feature_of, needed
from mailtls.kube.workload import WorkloadState
from mailtls.maildomain.facts import DomainFacts, MailDomain
from mailtls.probe.target import Port, Route, TlsMode, TlsPolicy
from mailtls.reasons.reason import Reason
from mailtls.reasons.software import Software
from mailtls.settings import InvalidSettings, Settings
from mailtls.verification.decide import FindRoutes
from mailtls.verification.execute import RouteFinding

POSTFIX = Daemon("postfix", (), PRESETS[Software.POSTFIX].reload)
BY_SIGNAL = Daemon("exim", (), signal=Signal(SignalName.HUP, "exim4"))
OWN = Daemon("generic", (), ("sh", "-c", "postfix reload"))


def off(*features: Feature) -> Features:
    """These are off."""
    return Features(frozenset(features))


def workload(strategy: UpdateStrategy, *daemons: Daemon) -> Workload:
    """A workload with one update strategy."""
    return Workload(WorkloadKind.STATEFUL_SET, "postfix", strategy, daemons)


@pytest.mark.parametrize(
    ("switched", "daemon", "refused"),
    [
        (off(), OWN, None),
        (off(Feature.EXEC), POSTFIX, Feature.EXEC),
        (off(Feature.EXEC, Feature.CUSTOM_RELOADS), OWN, Feature.EXEC),
        (off(Feature.CUSTOM_RELOADS), OWN, Feature.CUSTOM_RELOADS),
        (off(Feature.CUSTOM_RELOADS), POSTFIX, None),
        (off(Feature.CUSTOM_RELOADS), Daemon("generic", ()), None),
        (off(Feature.CUSTOM_RELOADS), BY_SIGNAL, Feature.CUSTOM_RELOADS),
        (off(Feature.RESTARTS), POSTFIX, None),
    ],
)
def test_reload_is_refused_where_its_command_may_not_be_run(
    switched: Features, daemon: Daemon, refused: Feature | None
) -> None:
    """A preset's command is known by its words, whoever wrote them."""
    finding = switched.reload_refusal(workload(UpdateStrategy.RELOAD, daemon))
    assert (finding is None) == (refused is None)
    if finding is not None:
        assert finding.reason is Reason.FEATURE_DISABLED
        assert f"features.{refused} is false" in finding.message


def test_command_of_a_further_server_in_the_same_pods_is_one_of_the_resources_own() -> None:
    """Preflight says so before any pod is told."""
    both = workload(UpdateStrategy.RELOAD, POSTFIX, OWN)
    (finding,) = off(Feature.CUSTOM_RELOADS).refusals(desired(workloads=(both,)))
    assert "features.customReloads is false" in finding.message


def test_restart_is_refused_only_where_restarts_are_off() -> None:
    """It needs no command in a pod."""
    finding = off(Feature.RESTARTS).restart_refusal(workload(UpdateStrategy.RELOAD))
    assert finding is not None
    assert "kubectl rollout restart yourself" in finding.message
    finding = off(Feature.RESTARTS).restart_refusal(workload(UpdateStrategy.RESTART))
    assert finding is not None
    assert "features.restarts is false" in finding.message
    assert off(Feature.EXEC, Feature.CUSTOM_RELOADS).restart_refusal(workload(UpdateStrategy.RESTART)) is None


def test_pods_are_left_alone_where_exec_is_off_and_the_resource_says_so() -> None:
    """Neither is a kubelet woken nor a command run; what is stored and served is told as ever."""
    whole = WholeReconcile(features=off(Feature.EXEC))
    before = dict(whole.cluster.objects["/api/v1/namespaces/mail/pods/postfix-0"])
    whole.run()
    told = whole.condition("RolledOut")
    assert (told["status"], told["reason"]) == ("False", "FeatureDisabled")
    assert "features.exec is false" in told["message"]
    assert whole.condition("Issued")["status"] == "True"
    assert whole.condition("Verified")["reason"] == "ServingOldCertificate"
    assert whole.cluster.objects["/api/v1/namespaces/mail/pods/postfix-0"] == before
    assert whole.cluster.reloaded == []


def test_pods_are_not_evicted_where_evictions_are_off_or_forbidden() -> None:
    """The resource says which value or which verb is missing, and what a person can do."""
    whole = WholeReconcile(features=off(Feature.EVICTIONS))
    whole.change(workloads=[{"kind": "StatefulSet", "name": "postfix", "updateStrategy": "Evict"}])
    whole.run()
    told = whole.condition("RolledOut")
    assert (told["status"], told["reason"]) == ("False", "FeatureDisabled")
    assert "features.evictions is false" in told["message"]
    assert not [path for verb, path in whole.cluster.writes if path.endswith("/eviction/postfix-0")]


def test_services_are_not_listed_where_they_are_off() -> None:
    """Each port that a Service was to lead to says why it is not asked by it."""

    class NoServices(FakeCluster):
        def list(self, path: str, *, label_selector: str = "") -> list[dict[str, object]]:
            raise AssertionError(path)

    state = WorkloadState(_with_port(), pods=(), rolled=True)
    wants = desired(workloads=(state.workload,), probe=Probe(routes=frozenset({Route.PODS, Route.SERVICE})))
    routes = RouteFinding(NoServices(), WallClock(), features=off(Feature.SERVICES))
    found = routes.find_all(a_context(wants, workloads=(state,)), FindRoutes())
    (endpoint,) = found.verification.endpoints
    assert endpoint.failure is not None
    assert endpoint.failure.reason is Reason.FEATURE_DISABLED
    assert "features.services is false" in endpoint.failure.message


def _with_port() -> Workload:
    port = Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC)
    return Workload(WorkloadKind.STATEFUL_SET, "postfix", UpdateStrategy.NONE, (Daemon("postfix", (port,)),))


def test_domains_are_not_looked_up_where_they_are_off() -> None:
    """Each says so."""

    class NoDns(Dns):
        def read_all(self, domains: Sequence[MailDomain]) -> Sequence[DomainFacts]:
            raise AssertionError(domains)

    watching = DomainChecking(NoDns([]), Pods(()), WallClock(), off(Feature.DOMAINS))
    found = watching.check(a_context(desired(domains=(MailDomain("example.com"),))), CheckDomains())
    ((finding,),) = (report.findings for report in found.domains.reports)
    assert finding.reason is Reason.FEATURE_DISABLED
    assert "features.domains is false" in finding.message


def test_setting_names_features_and_refuses_others() -> None:
    """As the chart writes them."""
    here = {"MAILTLS_NAMESPACE": "mailtls"}
    settings = Settings.from_environment(here | {"MAILTLS_DISABLED_FEATURES": "exec,customReloads"})
    assert settings.disabled_features == off(Feature.EXEC, Feature.CUSTOM_RELOADS)
    with pytest.raises(InvalidSettings, match="write some of issuance, exec, customReloads, restarts, evictions"):
        Settings.from_environment(here | {"MAILTLS_DISABLED_FEATURES": "exec,reloads"})


def test_preflight_asks_only_for_rights_that_the_resource_makes_use_of() -> None:
    """So an installation without a feature is whole for resources that do without it."""
    assert needed(desired(is_external=True)) == ALWAYS
    assert set(needed(desired())) == {*ALWAYS, *OF_FEATURES[Feature.ISSUANCE]}
    reloads = desired(workloads=(workload(UpdateStrategy.RELOAD, POSTFIX),))
    assert set(needed(reloads)) == {*needed(desired()), *OF_FEATURES[Feature.EXEC]}
    every = desired(
        workloads=(
            workload(UpdateStrategy.RELOAD, POSTFIX),
            workload(UpdateStrategy.RESTART),
            workload(UpdateStrategy.EVICT),
        ),
        probe=Probe(routes=frozenset({Route.PODS, Route.SERVICE})),
    )
    assert set(needed(every)) == set(NEEDED)
    for strategy, verbs in ((UpdateStrategy.NONE, {"get"}), (UpdateStrategy.RESTART, {"get", "patch"})):
        of_argo = needed(desired(workloads=(replace(workload(strategy), kind=WorkloadKind.ROLLOUT),)))
        assert {right.verb for right in of_argo if right.group == "argoproj.io"} == verbs
    assert {feature_of(right) for right in ALWAYS} == {None}
    assert {feature_of(right) for right in OF_FEATURES[Feature.EXEC]} == {Feature.EXEC}


class AskedCluster(FakeCluster):
    """Allows the operator everything, and remembers what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[tuple[str, str]] = set()

    def create(self, path: str, body: Json) -> Json:
        """Answer a review of access."""
        assert path.endswith("/subjectaccessreviews")
        asked = body["spec"]["resourceAttributes"]
        self.asked.add(("/".join(filter(None, (asked["resource"], asked.get("subresource")))), asked["verb"]))
        return {"status": {"allowed": True}}

    def rehearse(self, _path: str, body: Json) -> Json:
        """Take it."""
        return body


def test_preflight_says_of_all_that_the_resource_asks_for_and_that_is_off() -> None:
    """By the operator's own environment; rights that were taken away for it are not asked for beside."""
    workloads = (workload(UpdateStrategy.RELOAD, OWN), workload(UpdateStrategy.RESTART))
    wants, cluster = desired(workloads=workloads, domains=(MailDomain("example.com"),)), AskedCluster()
    told = {"MAILTLS_DISABLED_FEATURES": "customReloads,domains,restarts"}
    place = Place(NOW, cluster, Installation("mailtls", "mailtls", told))
    lines = [line for line in serving.lines({"metadata": {}, "spec": {}}, wants, place) if line.topic == "features"]
    for line, feature in zip(lines, ("customReloads", "restarts", "domains"), strict=True):
        assert line.reason is Reason.FEATURE_DISABLED
        assert f"features.{feature} is false" in line.message
    assert ("pods/exec", "create") in cluster.asked
    assert cluster.asked.isdisjoint({("statefulsets", "patch"), ("pods", "delete")})
    assert off(Feature.EXEC, Feature.CUSTOM_RELOADS, Feature.DOMAINS).refusals(wants)[1:] == off(
        Feature.DOMAINS
    ).refusals(wants)
    assert off(*Feature).refusals(desired(is_external=True)) == ()
