"""Secrets that are not ours on a real cluster: left alone, taken over only where that is asked for on them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from e2e.events import await_told
from e2e.installation import SECRET, STAGED, Installation
from e2e.laggard import await_challenge_record, orders_held
from e2e.other_authority import issued
from testbed import gohealth
from testbed.sandbox import MAIL_SERVER_TLS

if TYPE_CHECKING:
    from testbed.api import Object
    from testbed.zones import NameServer

pytestmark = pytest.mark.cluster

HELM = {
    "labels": {"app.kubernetes.io/managed-by": "Helm"},
    "annotations": {"meta.helm.sh/release-name": "mailstack"},
}


def test_secret_of_helm_is_left_alone_until_adoption_is_asked_for(installation: Installation) -> None:
    """Then its certificate serves on, whoever issued it, and a renewal replaces it; kstatus follows all that."""
    before = put(installation, SECRET, issued([installation.zone.host("mx")]), **HELM)
    installation.apply()
    unseen = installation.get()
    assert unseen["status"] == {"observedGeneration": -1}
    installation.start()
    told = installation.await_reason("SecretNotOwned")["message"]
    assert "Helm (release mailstack)" in told
    assert "mailtls.dev/adopt=true" in told
    assert installation.sandbox.get("secrets", SECRET) == before
    stalled = installation.get()
    await_condition(installation, "Stalled")

    installation.sandbox.annotate("secrets", SECRET, mailtls_dev__adopt="true")
    await_condition(installation, "Ready")
    ready = installation.get()
    seen = gohealth.kstatus([unseen, stalled, ready])
    assert [each["status"] for each in seen] == ["InProgress", "Failed", "Current"]
    assert seen[1]["message"] == told
    after = installation.sandbox.get("secrets", SECRET)
    assert after["data"] == before["data"]
    assert after["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "mailtls"
    assert installation.fingerprint() == ready["status"]["certificate"]["fingerprintSHA256"]
    await_told(installation, ("Normal", "SecretAdopted"))
    assert installation.pebble.orders() == 0
    adopted = installation.leaf()

    installation.renew("now")
    installation.await_renewed("now")
    assert installation.leaf() != adopted
    assert installation.leaf(f"{SECRET}-previous") == adopted
    assert installation.pebble.orders() == 1


def test_adopted_certificate_is_renewed_when_it_is_due(installation: Installation) -> None:
    """Its own lifetime decides, for the authority of the spec knows nothing of it."""
    put(installation, SECRET, issued([installation.zone.host("mx")], days_old=86, days_left=4), adopt=True)
    adopted = installation.leaf()
    installation.start()
    installation.apply()
    installation.sandbox.wait_for("secrets", SECRET, lambda _seen: installation.leaf() != adopted)
    installation.await_ready()
    assert installation.leaf(f"{SECRET}-previous") == adopted
    events = [each["event"] for each in installation.get()["status"]["history"]]
    assert events == ["SecretAdopted", "Issued"]


def test_secret_in_the_place_of_the_next_key_is_left_alone(installation: Installation) -> None:
    """It is named, and nothing is ordered."""
    before = put(installation, STAGED, {"password": b"production database"}, "Opaque")
    installation.start()
    installation.apply()
    assert STAGED in installation.await_reason("SecretNotOwned")["message"]
    assert installation.sandbox.get("secrets", STAGED) == before
    assert installation.sandbox.find("secrets", SECRET) is None
    assert installation.pebble.orders() == 0


def test_immutable_secret_is_named_and_nothing_is_ordered_for_it(installation: Installation) -> None:
    """The API server would refuse the new certificate; once somebody deletes the Secret, it is made anew."""
    installation.start()
    installation.apply()
    installation.await_ready()
    installation.sandbox.patch("secrets", SECRET, {"immutable": True})
    installation.renew("now")
    assert f"delete secret {SECRET}" in installation.await_reason("SecretImmutable")["message"]
    assert installation.pebble.orders() == 1
    installation.sandbox.delete("secrets", SECRET)
    installation.await_renewed("now")
    assert "immutable" not in installation.sandbox.get("secrets", SECRET)


def test_resource_made_anew_under_its_name_in_mid_order_goes_on(installation: Installation, names: NameServer) -> None:
    """The order of the earlier one is closed, and its staged key is gone before the new one stages its own."""
    with orders_held(names, installation.zone):
        installation.start()
        first = installation.apply()
        installation.await_order()
        await_challenge_record(names, installation.zone)
        key = installation.sandbox.secret(STAGED)["tls.key"]
        installation.delete()
        second = installation.apply()
        assert first["metadata"]["uid"] != second["metadata"]["uid"]
        installation.sandbox.wait_for("secrets", STAGED, lambda seen: owner(seen) == second["metadata"]["uid"])
        assert installation.sandbox.secret(STAGED)["tls.key"] != key
    installation.await_ready()
    assert installation.sandbox.find(MAIL_SERVER_TLS, "mx") is not None


def await_condition(installation: Installation, kind: str) -> None:
    """Wait as users do."""
    where = ("--namespace", installation.sandbox.name, f"{MAIL_SERVER_TLS}/mx")
    installation.sandbox.cluster.kubectl("wait", f"--for=condition={kind}", "--timeout=240s", *where)


def put(
    installation: Installation, name: str, data: dict[str, bytes], kind: str = "kubernetes.io/tls", /, **metadata: Any
) -> Object:
    """Write a Secret as another tool does."""
    if metadata.pop("adopt", False):
        metadata["annotations"] = {"mailtls.dev/adopt": "true"}
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    meta = {"name": name, **metadata}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": kind, "data": encoded}
    installation.sandbox.apply(body)
    return installation.sandbox.get("secrets", name)


def owner(secret: Object | None) -> str | None:
    """The uid of the resource that a Secret goes with."""
    references = (secret or {}).get("metadata", {}).get("ownerReferences") or [{}]
    uid: str | None = references[0].get("uid")
    return uid
