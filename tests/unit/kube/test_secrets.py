"""The three Secrets of a resource, over a Kubernetes API in a dictionary."""

import json
from base64 import b64decode, b64encode
from dataclasses import replace

import pytest

from builders.pairs import RESOURCE, fresh, self_signed
from builders.stories import desired
from fakes.cluster import FakeCluster
from mailtls.api.resource import ROOTS_OFFERED
from mailtls.api.spec import Key, PrivateKeyPolicy
from mailtls.issuance.certificates import key_follows, new_key
from mailtls.kube.interface import Conflict
from mailtls.kube.journal import parse_staged, resource_of
from mailtls.kube.open_orders import FINALIZER
from mailtls.kube.pairs import path
from mailtls.kube.secrets import Secrets
from mailtls.kube.snapshot import ServingSecret, Staged
from mailtls.pki.certificate import KeyAlgorithm, parse_chain
from mailtls.reasons.reason import Finding, Reason

NOTHING = ServingSecret(exists=False)


def test_staged_key_comes_back_as_it_was() -> None:
    """What a crash leaves is all that is needed to go on."""
    secrets = Secrets(FakeCluster())
    saved = secrets.stage(desired(), fresh(), RESOURCE)
    found = secrets.staged(desired())
    assert isinstance(found, Staged)
    assert replace(found, key=saved.key) == saved
    assert found.key.pem == saved.key.pem


def test_staged_secret_belongs_to_the_resource_and_waits_for_clean_up() -> None:
    """The garbage collector removes it with the resource, after the challenges are cleaned up."""
    cluster = FakeCluster()
    Secrets(cluster).stage(desired(), fresh(), RESOURCE)
    meta = cluster.objects[path("mail", "mx-tls-next")]["metadata"]
    assert meta["ownerReferences"][0]["uid"] == "uid-1"
    assert meta["finalizers"] == [FINALIZER]


def test_closed_order_lets_the_finalizer_go() -> None:
    """An idle resource is never held by an operator that is not there any more."""
    cluster = FakeCluster()
    secrets = Secrets(cluster)
    saved = secrets.stage(desired(), fresh(), RESOURCE)
    secrets.close_order(desired(), saved)
    assert not cluster.objects[path("mail", "mx-tls-next")]["metadata"].get("finalizers")
    assert list(secrets.orphans(desired().key)) == []


def test_two_operators_stage_second_is_refused() -> None:
    """A key that was saved for an order is never overwritten unseen."""
    secrets = Secrets(FakeCluster())
    secrets.stage(desired(), fresh(), RESOURCE)
    with pytest.raises(Conflict):
        secrets.stage(desired(), fresh(), RESOURCE)


def test_unreadable_staged_secret_is_replaced() -> None:
    """Somebody edited it to nonsense: it holds nothing worth keeping, and must not block for ever."""
    cluster = FakeCluster()
    secrets = Secrets(cluster)
    saved = secrets.stage(desired(), fresh(), RESOURCE)
    cluster.objects[path("mail", "mx-tls-next")]["data"]["order.json"] = b64encode(b"{").decode()
    assert secrets.staged(desired()) is None
    assert secrets.stage(desired(), replace(saved, resource_version=""), RESOURCE).spki_sha256 == saved.spki_sha256


def test_stored_pair_is_read_back_with_its_origin() -> None:
    """Names, key and authority decide whether a certificate is due, so they must survive the API."""
    secrets = Secrets(FakeCluster())
    key = new_key(PrivateKeyPolicy())
    stored = secrets.store(desired(renew_requested="1"), self_signed(key), key, NOTHING)
    found = secrets.serving(desired())
    assert replace(found, key=stored.key) == stored
    assert found.key is not None
    assert found.key.pem == key.pem
    assert stored.handled_renew == "1"


def test_roots_that_the_authority_offered_are_remembered_with_the_certificate() -> None:
    """A restart does not forget what is said about the chain; nonsense there is as nothing."""
    cluster, key = FakeCluster(), new_key(PrivateKeyPolicy())
    secrets = Secrets(cluster)
    stored = secrets.store(desired(), replace(self_signed(key), roots_offered=("Root A", "Root B")), key, NOTHING)
    assert replace(secrets.serving(desired()), key=stored.key) == stored
    cluster.objects[path("mail", "mx-tls")]["metadata"]["annotations"][ROOTS_OFFERED] = "7"
    found = secrets.serving(desired()).certificate
    assert found is not None
    assert found.roots_offered == ()


def test_leaves_of_a_namespace_are_those_that_serve() -> None:
    """Neither the pair before, nor a staged key, nor anybody else's Secret may vouch for what a server shows."""
    cluster = FakeCluster()
    secrets, first, second, other = (Secrets(cluster), *(new_key(PrivateKeyPolicy()) for _ in range(3)))
    old, new, sibling = self_signed(first), self_signed(second), self_signed(other)
    before = secrets.store(desired(), old, first, NOTHING)
    secrets.store(desired(), new, second, before)
    secrets.store(desired(key=Key("mail", "other"), secret_name="other-tls"), sibling, other, NOTHING)
    secrets.stage(desired(), fresh(), RESOURCE)
    foreign = cluster.objects[path("mail", "mx-tls-previous")]
    cluster.objects[path("mail", "foreign")] = foreign | {"metadata": {"name": "foreign", "resourceVersion": "9"}}
    assert secrets.leaves("mail") == {new.sha256, sibling.sha256}
    assert secrets.leaves("elsewhere") == frozenset()


def test_secret_of_ours_without_a_certificate_is_no_leaf() -> None:
    """Somebody emptied it: that is told elsewhere, and hides no other one."""
    cluster, key = FakeCluster(), new_key(PrivateKeyPolicy())
    secrets, kept = Secrets(cluster), self_signed(key)
    secrets.store(desired(), kept, key, NOTHING)
    secrets.store(desired(key=Key("mail", "other"), secret_name="other-tls"), kept, key, NOTHING)
    cluster.objects[path("mail", "other-tls")]["data"] = {}
    assert secrets.leaves("mail") == {kept.sha256}


def test_replaced_pair_is_kept_as_previous() -> None:
    """The way back stays open."""
    cluster = FakeCluster()
    secrets = Secrets(cluster)
    first, second = new_key(PrivateKeyPolicy()), new_key(PrivateKeyPolicy())
    secrets.store(desired(), self_signed(first), first, NOTHING)
    assert path("mail", "mx-tls-previous") not in cluster.objects
    secrets.store(desired(), self_signed(second), second, secrets.serving(desired()))
    kept = cluster.objects[path("mail", "mx-tls-previous")]["data"]
    assert b64decode(kept["tls.key"]) == first.pem


def test_secret_that_somebody_edited_meanwhile_is_not_written_over() -> None:
    """What was decided was decided about another Secret; nothing of the edit may be lost unseen."""
    cluster = FakeCluster()
    secrets, first, second = Secrets(cluster), new_key(PrivateKeyPolicy()), new_key(PrivateKeyPolicy())
    read = secrets.store(desired(), self_signed(first), first, NOTHING)
    cluster.merge(path("mail", "mx-tls"), {"metadata": {"annotations": {"somebody": "was here"}}})
    with pytest.raises(Conflict):
        secrets.store(desired(), self_signed(second), second, read)
    assert b64decode(cluster.objects[path("mail", "mx-tls")]["data"]["tls.key"]) == first.pem


def test_secret_that_somebody_made_meanwhile_is_not_written_over() -> None:
    """There was none when it was decided to make one, so whoever made it must be heard first."""
    cluster = FakeCluster()
    secrets, key = Secrets(cluster), new_key(PrivateKeyPolicy())
    meta = {"name": "mx-tls", "annotations": {"cert-manager.io/certificate-name": "mx"}}
    cluster.create(path("mail"), {"metadata": meta, "type": "kubernetes.io/tls", "data": {}})
    with pytest.raises(Conflict):
        secrets.store(desired(), self_signed(key), key, NOTHING)


def test_secret_of_another_type_is_not_touched() -> None:
    """A Secret's type cannot be changed, so a person has to choose."""
    cluster = FakeCluster()
    cluster.create(path("mail"), {"metadata": {"name": "mx-tls"}, "type": "Opaque", "data": {}})
    assert Secrets(cluster).serving(desired()).foreign is not None


def test_contents_of_secrets_that_only_have_our_label_are_not_read() -> None:
    """Anybody can make hundreds of a megabyte each, and whoever lists them whole ends for want of memory."""
    cluster = FakeCluster()
    secrets = Secrets(cluster)
    saved = secrets.stage(desired(), fresh(), RESOURCE)
    labels = {"app.kubernetes.io/managed-by": "mailtls", "mailtls.dev/owner": "mx"}
    for number in range(100):
        meta = {"name": f"planted-{number}", "labels": labels, "ownerReferences": [{"kind": "Node"}]}
        cluster.create(path("mail"), {"metadata": meta, "data": {"large": "x"}})
    cluster.reads.clear()
    (held,) = secrets.held()
    assert "data" not in held
    assert cluster.reads == []
    assert secrets.open_orders() == secrets.open_orders() == {(saved.spki_sha256, saved.acme_server)}
    assert cluster.reads == [path("mail", "mx-tls-next")], "the same version is read once"
    assert len(list(secrets.orphans(desired().key))) == 1
    assert secrets.leaves("mail") == frozenset()
    assert cluster.reads == [path("mail", "mx-tls-next")] * 2


@pytest.mark.parametrize("forged", ["namespace", "owner reference", "label", "name", "kind"])
def test_journal_that_is_not_ours_is_neither_held_nor_believed(forged: str) -> None:
    """Whoever may write Secrets can plant one; it must not lead to another namespace or resource."""
    cluster = FakeCluster()
    secrets = Secrets(cluster)
    secrets.stage(desired(), fresh(), RESOURCE)
    assert len(secrets.held(["mail"])) == len(secrets.held()) == 1
    planted = cluster.objects[path("mail", "mx-tls-next")]
    meta = planted["metadata"]
    match forged:
        case "namespace":
            told = json.loads(b64decode(planted["data"]["resource.json"]))
            told["metadata"] = {"namespace": "kube-system", "name": "victim"}
            planted["data"]["resource.json"] = b64encode(json.dumps(told).encode()).decode()
            (found,) = filter(None, map(secrets.whole, secrets.held(["mail"])))
            assert resource_of(found)["metadata"]["namespace"] == "mail"
            assert resource_of(found)["metadata"]["name"] == "mx"
            return
        case "owner reference":
            meta["ownerReferences"] = []
        case "label":
            meta["labels"]["mailtls.dev/owner"] = "another"
        case "name":
            meta["name"] = "mx-tls"
        case _:
            meta["ownerReferences"][0]["kind"] = "Deployment"
    assert secrets.held(["mail"]) == []
    assert list(secrets.orphans(desired().key)) == []


def test_next_secret_of_somebody_else_stays_as_it_is() -> None:
    """A Secret that happens to have the name of our journal is named to the user, and not written."""
    cluster = FakeCluster()
    foreign = {"metadata": {"name": "mx-tls-next"}, "type": "Opaque", "data": {"password": "cHc="}}
    cluster.create(path("mail"), foreign)
    secrets = Secrets(cluster)
    found = secrets.staged(desired())
    assert isinstance(found, Finding)
    assert found.message.startswith("Secret mx-tls-next was made by somebody else.")
    with pytest.raises(Conflict):
        secrets.stage(desired(), fresh(), RESOURCE)
    assert cluster.objects[path("mail", "mx-tls-next")]["data"] == {"password": "cHc="}


def test_previous_secret_of_somebody_else_stays_as_it_is() -> None:
    """The new certificate is stored all the same; only the earlier one is not kept."""
    cluster = FakeCluster()
    foreign = {"metadata": {"name": "mx-tls-previous"}, "type": "Opaque", "data": {"password": "cHc="}}
    cluster.create(path("mail"), foreign)
    key = new_key(PrivateKeyPolicy())
    secrets, chain = Secrets(cluster), self_signed(key)
    secrets.store(desired(), chain, key, ServingSecret(exists=False))
    secrets.store(desired(), chain, key, secrets.serving(desired()))
    assert cluster.objects[path("mail", "mx-tls-previous")]["data"] == {"password": "cHc="}


@pytest.mark.parametrize("data", [{}, {"tls.crt": ""}, {"tls.crt": "!", "tls.key": "!"}, {"tls.key": "AAAA"}])
def test_nonsense_in_the_secret_is_a_missing_certificate(data: dict[str, str]) -> None:
    """Whatever people put there, reading it never raises."""
    cluster = FakeCluster()
    cluster.create(path("mail"), {"metadata": {"name": "mx-tls"}, "type": "kubernetes.io/tls", "data": data})
    found = Secrets(cluster).serving(desired())
    assert (found.certificate, found.key_spki_sha256) == (None, None)


def test_journal_tells_what_clean_up_needs_and_no_more() -> None:
    """After the resource is deleted it is known how its names were validated; workloads and all else are not kept."""
    cluster = FakeCluster()
    secrets = Secrets(cluster)
    acme = {"email": "postmaster@example.test", "solvers": [{"http01": {}}]}
    spec = RESOURCE["spec"] | {"acme": acme, "workloads": [{"name": "postfix", "reload": {"command": ["secret"]}}]}
    secrets.stage(desired(), fresh(), RESOURCE | {"spec": spec})
    (orphan,) = secrets.orphans(desired().key)
    assert json.loads(b64decode(orphan["data"]["resource.json"])) == {"acme": acme}
    found = resource_of(orphan)
    assert found["spec"] == {"dnsNames": ["mx.example.test"], "secretName": "mx-tls", "acme": acme}
    assert {name: found["metadata"][name] for name in ("namespace", "name", "uid")} == {
        "namespace": "mail",
        "name": "mx",
        "uid": "uid-1",
    }
    assert parse_staged(orphan) is not None


def test_staged_key_of_the_secret_that_is_named_now_is_no_orphan() -> None:
    """Only what a changed secretName left behind is closed while the resource lives."""
    secrets = Secrets(FakeCluster())
    secrets.stage(desired(), fresh(), RESOURCE)
    secrets.stage(desired(secret_name="old-tls"), fresh(), RESOURCE)
    names = [each["metadata"]["name"] for each in secrets.orphans(desired().key, desired())]
    assert names == ["old-tls-next"]
    assert len(list(secrets.orphans(desired().key))) == 2
    present = desired(is_external=True)
    assert len(list(secrets.orphans(desired().key, present))) == 2, "what is not ordered any more goes on with no order"


@pytest.mark.parametrize(
    "policy",
    [PrivateKeyPolicy(), PrivateKeyPolicy(size=384), PrivateKeyPolicy(KeyAlgorithm.RSA, 2048)],
)
def test_generated_key_follows_its_policy(policy: PrivateKeyPolicy) -> None:
    """What is drawn is what is later recognised as wanted, by key and by certificate."""
    key = new_key(policy)
    certificate = self_signed(key)
    assert key_follows(key, policy)
    assert (certificate.key_algorithm, certificate.key_size) == (policy.algorithm, policy.size)


def test_key_prints_as_nothing() -> None:
    """No log line, event or traceback can carry a key."""
    key = new_key(PrivateKeyPolicy())
    staged = fresh(key)
    for text in (repr(key), str(key), f"{key}", repr(staged), str(staged)):
        assert "PRIVATE" not in text
        assert key.pem.decode().splitlines()[1] not in text


def test_chain_out_of_order_is_noticed() -> None:
    """Two unrelated certificates are no chain."""
    one, two = (self_signed(new_key(PrivateKeyPolicy())) for _ in range(2))
    assert one.chain_is_ordered
    assert not parse_chain(one.chain_pem + two.chain_pem).chain_is_ordered


UNKNOWN_KEY = b"-----BEGIN PRIVATE KEY-----\nMAwCAQAwBQYDKgMEBAA=\n-----END PRIVATE KEY-----\n"


def test_key_of_an_unknown_kind_is_a_fault_and_no_exception() -> None:
    """Whatever somebody put into the Secret, the operator can say that it is unreadable."""
    cluster = FakeCluster()
    secret = {"metadata": {"name": "mx-tls"}, "type": "kubernetes.io/tls"}
    cluster.objects[path("mail", "mx-tls")] = secret | {"data": {"tls.key": b64encode(UNKNOWN_KEY).decode()}}
    assert Secrets(cluster).serving(desired()).key_spki_sha256 is None


def test_immutable_secret_is_told_before_anything_is_ordered() -> None:
    """An order whose certificate cannot be stored is worth nothing."""
    cluster = FakeCluster()
    secret = {"metadata": {"name": "mx-tls"}, "type": "kubernetes.io/tls", "immutable": True, "data": {}}
    cluster.objects[path("mail", "mx-tls")] = secret
    foreign = Secrets(cluster).serving(desired()).foreign
    assert foreign is not None
    assert (foreign.reason, "Secret mx-tls has immutable: true" in foreign.message) == (Reason.SECRET_IMMUTABLE, True)


def test_immutable_staged_secret_is_named_and_not_written() -> None:
    """A write would be refused as invalid, again and again."""
    cluster = FakeCluster()
    secrets = Secrets(cluster)
    secrets.stage(desired(), fresh(), RESOURCE)
    cluster.objects[path("mail", "mx-tls-next")]["immutable"] = True
    found = secrets.staged(desired())
    assert isinstance(found, Finding)
    assert (found.reason, "mx-tls-next" in found.message) == (Reason.SECRET_IMMUTABLE, True)


def test_broken_pair_does_not_take_the_place_of_the_previous_one() -> None:
    """A key that somebody spoilt is nothing to roll back to."""
    cluster = FakeCluster()
    secrets, good = Secrets(cluster), new_key(PrivateKeyPolicy())
    secrets.store(desired(), self_signed(good), good, NOTHING)
    second = new_key(PrivateKeyPolicy())
    secrets.store(desired(), self_signed(second), second, secrets.serving(desired()))
    spoilt = b64encode(new_key(PrivateKeyPolicy()).pem).decode()
    cluster.objects[path("mail", "mx-tls")]["data"]["tls.key"] = spoilt
    third = new_key(PrivateKeyPolicy())
    secrets.store(desired(), self_signed(third), third, secrets.serving(desired()))
    kept = cluster.objects[path("mail", "mx-tls-previous")]["data"]["tls.key"]
    assert b64decode(kept) == good.pem
