"""Staged Secrets that a tenant planted: nobody is contacted for them, and their keys are not used."""

import json
from base64 import b64decode, b64encode
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from builders.pairs import RESOURCE, fresh, self_signed
from builders.stories import desired
from builders.whole_reconcile import WholeReconcile
from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailtls.api.reading.document import Json
from mailtls.api.resource import labels_of
from mailtls.api.spec import Acme, Desired, Key, PrivateKeyPolicy
from mailtls.issuance.acme.account import Account
from mailtls.issuance.acme.accounts import Accounts
from mailtls.issuance.certificates import new_key, signing_request
from mailtls.issuance.ending import Closing
from mailtls.issuance.solvers.base import Surroundings
from mailtls.issuance.solvers.registry import SOLVERS, Solvers
from mailtls.issuance.validation import Validation
from mailtls.kube.journal import COPY, KEY_SECRET, Seal
from mailtls.kube.open_orders import FINALIZER
from mailtls.kube.pairs import path
from mailtls.kube.secrets import Secrets
from mailtls.kube.snapshot import ServingSecret, Staged

GONE = Key("mail", "gone")
OWN_SERVER = {"server": "https://ca.attacker.example/directory", "solvers": [{"http01": {}}]}
BORROWED = None  # the installation's own server, account and solvers
NEXT = path("mail", "mx-tls-next")


def planted(acme: Json | None, names: list[str], url: str) -> Json:
    """A staged Secret as a tenant would write it, who knows all about ours but the seal."""
    key = new_key(PrivateKeyPolicy())
    order = {"server": OWN_SERVER["server"], "names": names, "url": url, "open": True}
    order |= {"stagedAt": "2026-01-01T00:00:00+00:00", "profile": None, "replaces": None}
    entries = {
        "tls.key": key.pem,
        "tls.csr": signing_request(key, names),
        "order.json": json.dumps(order).encode(),
        "resource.json": json.dumps({"acme": acme}).encode(),
        "staged.seal": b"00" * 32,
        "order.seal": b"00" * 32,
    }
    owner = {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS", "name": GONE.name, "uid": "uid-gone"}
    metadata = {
        "name": "gone-next",
        "namespace": GONE.namespace,
        "uid": "uid-of-the-secret",
        "resourceVersion": "7",
        "labels": labels_of(GONE),
        "ownerReferences": [owner],
        "finalizers": [FINALIZER],
        "deletionTimestamp": "2026-01-01T00:00:00Z",
    }
    return {"metadata": metadata, "type": "Opaque", "data": encoded(entries)}


@pytest.mark.parametrize("acme", [OWN_SERVER, BORROWED], ids=["a server of his choice", "the installation's solvers"])
def test_planted_journal_is_let_go_of_and_nobody_is_contacted(acme: Json | None, monkeypatch: Any) -> None:
    """Neither his server nor the installation's hears of it, and no solver is used for names that he may not have."""
    contacts: list[Acme] = []
    monkeypatch.setattr(Accounts, "of", lambda _self, wanted: contacts.append(wanted))
    whole = WholeReconcile()
    whole.cluster.objects[path("mail", "gone-next")] = planted(acme, ["www.corp.example"], "https://ca.test/order/1")
    assert whole.reconcile(GONE) is None
    assert contacts == []
    assert not whole.cluster.objects[path("mail", "gone-next")]["metadata"].get("finalizers")
    read = [place for place in whole.cluster.reads if "/secrets/" in place]
    assert read == [path("mail", "gone-next"), path("mailtls", KEY_SECRET)]


def test_journal_of_ours_is_closed_by_the_very_account_that_it_names(monkeypatch: Any) -> None:
    """The same clean-up, with the seal: the account is asked for, and nothing but what was saved decides which."""
    contacts: list[Acme] = []

    def of(_self: Accounts, wanted: Acme) -> Account:
        contacts.append(wanted)
        raise ConnectionError

    monkeypatch.setattr(Accounts, "of", of)
    whole = WholeReconcile()
    gone = desired(key=GONE, uid="uid-gone", secret_name="gone")
    staged = whole.secrets.stage(gone, fresh(), {"spec": {"acme": OWN_SERVER}})
    whole.secrets.save_order(GONE, "gone", replace(staged, order_url="https://ca.attacker.example/order/1"))
    assert whole.reconcile(GONE) is not None
    assert [each.server for each in contacts] == [OWN_SERVER["server"]]


@pytest.mark.parametrize("entry", ["tls.key", "tls.csr", "resource.json", "order.json", "staged.seal", "order.seal"])
def test_staged_secret_of_which_one_entry_was_changed_is_not_believed(entry: str) -> None:
    """A key that the tenant knows, an order of somebody else, a server: whatever he exchanges, the whole is void."""
    secrets, cluster, other = staging()
    data = cluster.objects[NEXT]["data"]
    data[entry] = other[entry]
    assert secrets.staged(desired()) is None


@pytest.mark.parametrize("place", ["uid", "name", "namespace", "resource"])
def test_staged_secret_is_sealed_for_its_place(place: str) -> None:
    """A copy of it elsewhere is void: for another resource, Secret or namespace."""
    secrets, cluster, _ = staging()
    moved = deepcopy(cluster.objects[NEXT])
    (owner,) = moved["metadata"]["ownerReferences"]
    wanted: Desired = desired()
    match place:
        case "uid":
            owner["uid"], wanted = "uid-2", desired(uid="uid-2")
        case "name":
            moved["metadata"]["name"], wanted = "new-tls-next", desired(secret_name="new-tls")
        case "namespace":
            moved["metadata"]["namespace"], wanted = "evil", desired(key=Key("evil", "mx"))
        case _:
            moved["metadata"]["labels"]["mailtls.dev/owner"] = owner["name"] = "other"
            wanted = desired(key=Key("mail", "other"))
    cluster.objects[path(wanted.key.namespace, f"{wanted.secret_name}-next")] = moved
    assert secrets.staged(wanted) is None


def test_seal_outlives_the_process_and_the_order() -> None:
    """Another process knows the journal, also after the order's URL was saved and the order closed."""
    secrets, cluster, _ = staging()
    staged = secrets.staged(desired())
    assert isinstance(staged, Staged)
    staged = secrets.save_order(desired().key, "mx-tls", replace(staged, order_url="https://ca.test/order/1"))
    secrets.close_order(desired(), staged)
    found = Secrets(cluster).staged(desired())
    assert isinstance(found, Staged)
    assert (found.order_url, found.is_open) == ("https://ca.test/order/1", False)


def test_journal_that_is_void_is_staged_over() -> None:
    """The Secret is ours by label and owner; what it holds is not, and holds nothing up."""
    secrets, cluster, _ = staging()
    cluster.objects[NEXT]["data"]["order.seal"] = b64encode(b"x").decode()
    again = secrets.stage(desired(), fresh(), RESOURCE)
    found = secrets.staged(desired())
    assert isinstance(found, Staged)
    assert found.spki_sha256 == again.spki_sha256


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("order.json", b"[" * 100_000),
        ("order.json", None),
        ("order.json", "utf-16"),
        ("resource.json", None),
        ("staged.seal", b"\xff"),
        ("tls.csr", None),
    ],
)
def test_staged_secret_that_nobody_can_read_holds_nothing_up(entry: str, text: bytes | str | None) -> None:
    """It counts as none, and another takes its place: no exception ends every pass of the resource."""
    secrets, cluster, _ = staging()
    data = cluster.objects[NEXT]["data"]
    if isinstance(text, str):
        data[entry] = b64encode(b64decode(data[entry]).decode().encode(text)).decode()
    elif text is None:
        del data[entry]
    else:
        data[entry] = b64encode(text).decode()
    assert secrets.staged(desired()) is None
    assert secrets.stage(desired(), fresh(), RESOURCE).resource_version


@pytest.mark.parametrize("order", [None, b"[" * 100_000], ids=["well-formed", "nested deep"])
def test_planted_journal_keeps_nobody_elses_order_from_being_closed(order: bytes | None) -> None:
    """One tenant's Secret must not have all others' pending authorizations count against their limits for ever."""
    cluster = FakeCluster()
    secrets = Secrets(cluster)
    journal = planted(BORROWED, ["mx.example"], f"{OWN_SERVER['server']}/order/1")
    if order is not None:
        journal["data"]["order.json"] = b64encode(order).decode()
    cluster.objects[path("mail", "gone-next")] = journal
    accounts = Accounts(cluster, "mailtls", WallClock(), lambda *_: None)
    closing = Closing(
        secrets, accounts, Validation(Solvers(SOLVERS, Surroundings(), accounts.secrets.read), WallClock())
    )
    (held,) = secrets.held()
    assert secrets.whole(held) == journal
    assert closing._knows_all_others(str(OWN_SERVER["server"]), "a key of ours")
    secrets.stage(desired(), replace(fresh(), acme_server=str(OWN_SERVER["server"])), RESOURCE)
    assert not closing._knows_all_others(str(OWN_SERVER["server"]), "a key of ours"), "one of ours, not read yet"


def test_planted_copy_is_not_what_a_secret_is_put_right_from() -> None:
    """Else whoever writes it would choose what serves."""
    cluster, key = FakeCluster(), new_key(PrivateKeyPolicy())
    secrets, certificate = Secrets(cluster), self_signed(key)
    pair = ServingSecret(certificate=certificate, key_spki_sha256=key.spki_sha256(), key=key)
    secrets.keep_copy(desired(), pair, None)
    assert secrets.beside(desired())[1] is not None
    data = cluster.objects[NEXT]["data"]
    data[COPY] = b64encode(b64decode(data[COPY]) + b" ").decode()
    assert secrets.beside(desired())[1] is None


def test_key_of_the_seal_is_made_once_and_repaired() -> None:
    """Two processes agree on it; a Secret of its name without one gets one."""
    cluster = FakeCluster()
    assert Seal(cluster, "mailtls").of(b"a") == Seal(cluster, "mailtls").of(b"a")
    assert Seal(cluster, "mailtls").of(b"a", b"b") != Seal(cluster, "mailtls").of(b"ab")
    cluster.objects[path("mailtls", KEY_SECRET)]["data"] = {}
    assert Seal(cluster, "mailtls").of(b"a") == Seal(cluster, "mailtls").of(b"a")


def test_key_of_the_seal_that_was_deleted_is_saved_again_by_who_knows_it() -> None:
    """The next process knows the open orders of this one; another key that somebody put there is left alone."""
    secrets, cluster, _ = staging()
    place = path("mailtls", KEY_SECRET)
    before = cluster.objects.pop(place)["data"]
    secrets.keep_seal()
    assert cluster.objects[place]["data"] == before
    assert isinstance(Secrets(cluster).staged(desired()), Staged)
    writes = list(cluster.writes)
    secrets.keep_seal()
    cluster.objects[place]["data"] = {"seal.key": b64encode(b"k" * 32).decode()}
    secrets.keep_seal()
    Secrets(FakeCluster()).keep_seal()
    assert cluster.writes == writes


def staging() -> tuple[Secrets, FakeCluster, dict[str, str]]:
    """A staged Secret, and the entries of another one of the same resource."""
    cluster = FakeCluster()
    secrets = Secrets(cluster)
    secrets.stage(desired(secret_name="old-tls"), fresh(), RESOURCE | {"spec": {"acme": OWN_SERVER}})
    secrets.stage(desired(), fresh(), RESOURCE)
    other: dict[str, str] = cluster.objects[path("mail", "old-tls-next")]["data"]
    return secrets, cluster, other


def encoded(entries: dict[str, bytes]) -> dict[str, str]:
    """Entries as the API server writes them."""
    return {name: b64encode(value).decode() for name, value in entries.items()}
