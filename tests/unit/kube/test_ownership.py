"""Whose a Secret is, and what is done with one that is not ours: nothing."""

from base64 import b64encode
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest

from builders.contexts import a_context, next_step
from builders.pairs import RESOURCE, fresh, self_signed
from builders.stories import DAY, NOW, certificate, desired, secret
from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailtls.api.reading.document import Json
from mailtls.api.resource import ADOPT, ADOPTED, labels_of
from mailtls.api.spec import PrivateKeyPolicy
from mailtls.cli.preflight.place import Place
from mailtls.cli.preflight.serving import whose_secrets
from mailtls.context import Context
from mailtls.issuance.certificates import new_key
from mailtls.issuance.decide import ScheduleRenewal
from mailtls.issuance.policy import issuance_is_due
from mailtls.issuance.restoring import Restoring
from mailtls.issuance.storage import AdoptSecret, adoption_is_due
from mailtls.kube.interface import Conflict
from mailtls.kube.pairs import path
from mailtls.kube.previous import PreviousPairs
from mailtls.kube.secrets import Secrets
from mailtls.kube.snapshot import ServingSecret, Staged
from mailtls.metrics import Metrics
from mailtls.reasons.reason import Finding, Reason
from mailtls.step import Rest

HELM: Json = {
    "labels": {"app.kubernetes.io/managed-by": "Helm"},
    "annotations": {"meta.helm.sh/release-name": "mailstack"},
}
ARGO = {"annotations": {"argocd.argoproj.io/tracking-id": "mailstack:/Secret:mail/mx-tls"}}
ARGO_LABEL = {
    "labels": {"app.kubernetes.io/instance": "mailstack"},
    "managedFields": [{"manager": "argocd-controller", "fieldsV1": {"f:data": {}}}],
}
CERT_MANAGER: Json = {"annotations": {"cert-manager.io/certificate-name": "mx"}}
EXTERNAL = {"labels": {"reconcile.external-secrets.io/created-by": "abc"}}
CONTROLLED = {"ownerReferences": [{"kind": "SealedSecret", "name": "sealed", "uid": "u"}]}
PERSON = {"managedFields": [{"manager": "kubectl-create", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:data": {}}}]}
PROGRAM = {"managedFields": [{"manager": "vault-sync", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:data": {}}}]}
OTHERS = [
    pytest.param(HELM, "Helm (release mailstack)", id="Helm"),
    pytest.param({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "Helm", id="Helm's label alone"),
    pytest.param(ARGO, "Argo CD (application mailstack)", id="Argo CD"),
    pytest.param(ARGO_LABEL, "Argo CD (application mailstack)", id="Argo CD by label"),
    pytest.param(CERT_MANAGER, "cert-manager (Certificate mx)", id="cert-manager"),
    pytest.param(EXTERNAL, "External Secrets", id="External Secrets"),
    pytest.param(CONTROLLED, "SealedSecret sealed", id="a controller"),
    pytest.param(PERSON, "a person (with kubectl-create)", id="a person"),
    pytest.param(PROGRAM, "field manager vault-sync", id="a program"),
    pytest.param({}, "somebody else", id="nobody is recorded"),
]


def put(cluster: FakeCluster, name: str, kind: str = "kubernetes.io/tls", /, **metadata: Any) -> Json:
    """Put a Secret with a key of its own there, as somebody else does."""
    key = new_key(PrivateKeyPolicy())
    data = {"tls.crt": b64encode(self_signed(key).chain_pem.encode()), "tls.key": b64encode(key.pem)}
    meta = {"name": name, "namespace": "mail", "resourceVersion": "7", **deepcopy(metadata)}
    body = {"metadata": meta, "type": kind, "data": {name: value.decode() for name, value in data.items()}}
    cluster.objects[path("mail", name)] = body
    return deepcopy(body)


@pytest.mark.parametrize(("metadata", "who"), OTHERS)
def test_serving_secret_of_somebody_else_is_left_alone_and_both_ways_out_are_said(metadata: Json, who: str) -> None:
    """The message names who keeps it; the resource rests, however due a certificate is."""
    cluster = FakeCluster()
    put(cluster, "mx-tls", **metadata)
    found = Secrets(cluster).serving(desired())
    assert found.foreign is not None
    assert found.foreign.reason is Reason.SECRET_NOT_OWNED
    assert who in found.foreign.message
    assert "Choose another secretName" in found.foreign.message
    assert f"kubectl annotate secret mx-tls {ADOPT}=true" in found.foreign.message
    assert isinstance(next_step(a_context(secret=found, schedule=None), NOW), Rest)


@pytest.mark.parametrize(("metadata", "who"), OTHERS)
@pytest.mark.parametrize("suffix", ["next", "previous"])
def test_secret_in_the_place_of_our_own_is_never_written(suffix: str, metadata: Json, who: str) -> None:
    """A staged or previous Secret that somebody else made is neither believed, nor overwritten, nor owned."""
    cluster, key = FakeCluster(), new_key(PrivateKeyPolicy())
    secrets, before = Secrets(cluster), put(cluster, f"mx-tls-{suffix}", "Opaque", **metadata)
    staged = secrets.staged(desired())
    if suffix == "next":
        assert isinstance(staged, Finding)
        assert who in staged.message
        with pytest.raises(Conflict):
            secrets.stage(desired(), fresh(), RESOURCE)
    else:
        first = secrets.store(desired(), self_signed(key), key, ServingSecret(exists=False))
        secrets.store(desired(), self_signed(key), key, first)
        kept = PreviousPairs(cluster, secrets.seal).read(desired(), first)
        assert kept is not None
        assert kept.foreign is not None
        assert who in kept.foreign.message
    assert cluster.objects[path("mail", f"mx-tls-{suffix}")] == before


def test_secret_of_another_tool_with_our_labels_is_not_ours() -> None:
    """Somebody copied our labels, or cert-manager was pointed at our Secret: two operators would fight for ever."""
    cluster = FakeCluster()
    put(cluster, "mx-tls", labels=labels_of(desired().key), **CERT_MANAGER)
    assert Secrets(cluster).serving(desired()).foreign is not None
    cluster.objects[path("mail", "mx-tls")]["metadata"]["annotations"][ADOPTED] = "aa"
    assert Secrets(cluster).serving(desired()).foreign is None


@pytest.mark.parametrize("value", ["", "false", "True ", "yes"])
def test_only_the_word_true_asks_for_adoption(value: str) -> None:
    """Whoever does not ask keeps the Secret."""
    cluster = FakeCluster()
    put(cluster, "mx-tls", annotations={ADOPT: value})
    assert Secrets(cluster).serving(desired()).foreign is not None


@pytest.mark.parametrize(("metadata", "_who"), OTHERS)
def test_secret_that_is_asked_for_is_taken_over_as_it_is(metadata: Json, _who: str) -> None:
    """Its certificate and its key stay; it has our labels then, and what others left on it does not count any more."""
    cluster, metadata = FakeCluster(), deepcopy(metadata)
    metadata.setdefault("annotations", {})[ADOPT] = "true"
    before = put(cluster, "mx-tls", **metadata)
    found = Secrets(cluster).serving(desired())
    assert (found.foreign, found.is_requested) == (None, True)
    taken = adopt(cluster).snapshot.secret
    after = cluster.objects[path("mail", "mx-tls")]
    assert after["data"] == before["data"]
    assert labels_of(desired().key).items() <= after["metadata"]["labels"].items()
    del after["metadata"]["annotations"][ADOPT]
    read = Secrets(cluster).serving(desired())
    assert (read.foreign, read.is_ours) == (None, True)
    assert read.adopted == taken.adopted == (read.certificate and read.certificate.sha256)


def test_adoption_that_somebody_wrote_into_meanwhile_begins_anew() -> None:
    """What was judged is not what is there any more."""
    cluster = FakeCluster()
    put(cluster, "mx-tls", annotations={ADOPT: "true"})
    known = observed(cluster)
    cluster.merge(path("mail", "mx-tls"), {"metadata": {"annotations": {"somebody": "was here"}}})
    with pytest.raises(Conflict):
        adopt(cluster, known)


def observed(cluster: FakeCluster) -> Context:
    """What a pass sees of the Secrets."""
    secrets = Secrets(cluster)
    staged, copy = secrets.beside(desired())
    assert not isinstance(staged, Finding)
    return a_context(secret=secrets.serving(desired()), staged=staged, copy=copy)


def adopt(cluster: FakeCluster, known: Context | None = None) -> Context:
    """Take the Secret over."""
    secrets = Secrets(cluster)
    restoring = Restoring(PreviousPairs(cluster, secrets.seal), secrets, WallClock(), Metrics(), lambda _: b"")
    return restoring.adopt(known or observed(cluster), AdoptSecret())


def test_good_certificate_is_adopted_and_serves_on_whoever_issued_it() -> None:
    """Neither its issuer, nor its key, nor a name too many makes a new one due; its time does."""
    odd = certificate(names=frozenset({"mx.example.test", "www.example.test"}), key_size=384, issuer="CN=Somebody")
    asked = secret(certificate=odd, acme_server=None, is_requested=True)
    assert next_step(a_context(secret=asked, schedule=None), NOW) == AdoptSecret()
    taken = secret(certificate=odd, acme_server=None, is_requested=True, is_ours=True, adopted=odd.sha256)
    assert issuance_is_due(a_context(secret=taken), NOW) is None
    assert next_step(a_context(secret=taken, copy=taken, schedule=None), NOW) == ScheduleRenewal()
    due = issuance_is_due(a_context(secret=taken), NOW + 60 * DAY)
    assert due is not None
    assert due.reason is Reason.RENEWAL_DUE
    assert issuance_is_due(a_context(desired(dns_names=("other.test",)), secret=taken), NOW) is not None


@pytest.mark.parametrize(
    "odd",
    [
        certificate(self_signed=True),
        certificate(not_after=NOW - timedelta(seconds=1)),
        certificate(not_before=NOW + timedelta(seconds=1)),
        certificate(names=frozenset({"other.test"})),
        certificate(chain_is_ordered=False),
        certificate(spki_sha256="00" * 32),
    ],
    ids=["self-signed", "expired", "not yet valid", "other names", "broken chain", "another key"],
)
def test_placeholder_is_not_adopted_but_replaced(odd: Any) -> None:
    """What no client accepts does not serve on; the Secret may be written, so a certificate is ordered for it."""
    asked = secret(certificate=odd, acme_server=None, is_requested=True)
    assert not adoption_is_due(a_context(secret=asked), NOW)
    assert issuance_is_due(a_context(secret=asked), NOW) is not None


def test_placeholder_that_is_asked_for_is_ours_with_the_first_certificate() -> None:
    """Marks of the tool that made it stay on it, and are no obstacle then."""
    cluster, key = FakeCluster(), new_key(PrivateKeyPolicy())
    metadata = deepcopy(HELM)
    metadata["annotations"][ADOPT] = "true"
    put(cluster, "mx-tls", **metadata)
    secrets = Secrets(cluster)
    secrets.store(desired(), self_signed(key), key, secrets.serving(desired()))
    del cluster.objects[path("mail", "mx-tls")]["metadata"]["annotations"][ADOPT]
    read = secrets.serving(desired())
    assert (read.foreign, read.is_ours) == (None, True)
    assert read.certificate is not None
    assert read.adopted not in {None, read.certificate.sha256}


def test_staged_secret_that_is_asked_for_is_taken() -> None:
    """Its owner has no use for what it holds."""
    cluster = FakeCluster()
    put(cluster, "mx-tls-next", "Opaque", annotations={ADOPT: "true"})
    secrets = Secrets(cluster)
    assert secrets.staged(desired()) is None
    cluster.objects[path("mail", "mx-tls-next")]["data"]["password"] = "cHc="
    secrets.stage(desired(), fresh(), RESOURCE)
    assert isinstance(secrets.staged(desired()), Staged)
    assert "password" not in cluster.objects[path("mail", "mx-tls-next")]["data"]


def test_staged_secret_of_an_earlier_resource_of_the_name_is_waited_for() -> None:
    """The garbage collector removes it; until then it is not believed, and looked for again soon."""
    cluster = FakeCluster()
    secrets = Secrets(cluster)
    secrets.stage(desired(uid="uid-0"), fresh(), RESOURCE)
    before = deepcopy(cluster.objects)
    found = secrets.staged(desired())
    assert isinstance(found, Finding)
    assert found.reason is Reason.PENDING
    step = next_step(a_context(desired(created_at=NOW), secret=secret(foreign=found)), NOW)
    assert isinstance(step, Rest)
    assert step.until is not None
    assert step.until - NOW < timedelta(seconds=5)
    with pytest.raises(Conflict):
        secrets.stage(desired(), fresh(), RESOURCE)
    assert cluster.objects == before
    (orphan,) = secrets.orphans(desired().key, desired())
    assert orphan["metadata"]["name"] == "mx-tls-next"


def test_staged_secret_that_its_resource_was_deleted_without_is_named_as_such() -> None:
    """`kubectl delete --cascade=orphan` takes the owner away, and nobody removes the Secret then."""
    cluster = FakeCluster()
    secrets = Secrets(cluster)
    secrets.stage(desired(), fresh(), RESOURCE)
    del cluster.objects[path("mail", "mx-tls-next")]["metadata"]["ownerReferences"]
    found = secrets.staged(desired())
    assert isinstance(found, Finding)
    assert "was made for MailServerTLS mx, and is not owned by it any more" in found.message
    cluster.merge(path("mail", "mx-tls-next"), {"metadata": {"annotations": {ADOPT: "true"}}})
    assert secrets.staged(desired()) is None


def test_previous_secret_of_an_earlier_resource_of_the_name_is_no_way_back() -> None:
    """Its key may be anybody's."""
    cluster, key = FakeCluster(), new_key(PrivateKeyPolicy())
    secrets = Secrets(cluster)
    serving = secrets.store(desired(uid="uid-0"), self_signed(key), key, ServingSecret(exists=False))
    serving = secrets.store(desired(uid="uid-0"), self_signed(key), key, serving)
    pairs = PreviousPairs(cluster, secrets.seal)
    mine, inherited = pairs.read(desired(uid="uid-0"), serving), pairs.read(desired(), serving)
    assert mine is not None
    assert mine.certificate is not None
    assert inherited is not None
    assert inherited.foreign is not None
    assert inherited.certificate is None


@pytest.mark.parametrize("suffix", ["-next", "-previous"])
def test_preflight_tells_of_what_is_in_the_way(suffix: str) -> None:
    """Before anything is ordered, and with the same words as the operator's."""
    cluster: Any = FakeCluster()
    place = Place(NOW, cluster)
    resource: Json = {"metadata": {"namespace": "mail", "name": "mx"}, "spec": {"secretName": "mx-tls"}}
    (good,) = whose_secrets(resource, desired(), place, cluster)
    assert good.reason is None
    put(cluster, f"mx-tls{suffix}", "Opaque", **HELM)
    (bad,) = whose_secrets(resource, desired(), place, cluster)
    assert bad.reason is Reason.SECRET_NOT_OWNED
    assert f"mx-tls{suffix} is kept by Helm" in bad.message
