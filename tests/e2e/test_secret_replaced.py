"""A serving Secret that somebody writes into on a real cluster: put right before any pod loads what they wrote."""

from __future__ import annotations

import base64
from functools import partial
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from e2e.installation import SECRET, Installation
from e2e.other_authority import issued
from e2e.served import served_fingerprint
from testbed.mailserver import MailServer, self_signed
from testbed.sandbox import MAIL_SERVER_TLS

if TYPE_CHECKING:
    from testbed.api import Object

pytestmark = pytest.mark.cluster

LABELS = ("app.kubernetes.io/managed-by", "mailtls.dev/owner")


def test_what_was_stored_comes_back_whoever_writes_whatever(installation: Installation) -> None:
    """A pair of another CA, a self-signed one, an older one, nonsense and nothing; the pods are not told of any."""
    host = installation.zone.host("mx")
    postfix = MailServer(installation.sandbox, host, keeps=True).deploy()
    replica = installation.start()
    installation.apply(workloads=[{"kind": postfix.kind, "name": postfix.name}])
    installation.await_ready()
    older = installation.sandbox.secret(SECRET)
    installation.renew("now")
    installation.await_renewed("now")
    good, fingerprint = installation.sandbox.get("secrets", SECRET)["data"], installation.fingerprint()
    reloads = replica.text().count("step=Roll")
    for count, written in enumerate((issued([host]), self_signed([host]), older, {"tls.crt": b"x", "tls.key": b""}), 1):
        write(installation, written)
        installation.sandbox.wait_for("secrets", SECRET, lambda seen: holds(seen, good))
        installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", partial(was_replaced, count))
    ready = installation.await_ready()
    for pod in postfix.pods():
        assert served_fingerprint(pod["status"]["podIP"], 465, host, installation.pebble.root()) == fingerprint
    assert ready["status"]["secret"]["fingerprintSHA256"] == fingerprint
    assert replica.text().count("step=Roll") == reloads
    events = [each for each in installation.sandbox.events("mx") if each["reason"] == "SecretReplaced"]
    assert events
    assert {each["type"] for each in events} == {"Warning"}
    assert "field manager" in events[0]["message"]
    assert installation.pebble.orders() == 2
    # The way back that the product has still works, and leads to the pair that was stored before.
    installation.roll_back("1")
    assert installation.sandbox.secret(SECRET)["tls.crt"] == older["tls.crt"]


def test_labels_that_are_removed_come_back_and_garbage_after_that_is_noticed(installation: Installation) -> None:
    """The watch goes by label: what loses it is put right within seconds."""
    installation.start()
    installation.apply()
    installation.await_ready()
    good = installation.sandbox.get("secrets", SECRET)["data"]
    installation.sandbox.patch("secrets", SECRET, {"metadata": {"labels": dict.fromkeys(LABELS)}})
    installation.sandbox.wait_for("secrets", SECRET, is_labelled)
    installation.sandbox.patch("secrets", SECRET, {"metadata": {"labels": {LABELS[1]: "somebody"}}})
    installation.sandbox.wait_for("secrets", SECRET, is_labelled)
    both = {"metadata": {"labels": dict.fromkeys(LABELS)}, "data": {"tls.crt": "eA==", "tls.key": ""}}
    installation.sandbox.patch("secrets", SECRET, both)
    seen = installation.sandbox.wait_for("secrets", SECRET, lambda seen: holds(seen, good))
    assert is_labelled(seen)
    assert installation.pebble.orders() == 1


def test_replacement_while_no_operator_runs_is_put_right_at_the_start(installation: Installation) -> None:
    """The status and the copy outlive the process."""
    replica = installation.start()
    installation.apply()
    installation.await_ready()
    good = installation.sandbox.get("secrets", SECRET)["data"]
    replica.stop()
    write(installation, issued([installation.zone.host("mx")]))
    installation.start()
    installation.sandbox.wait_for("secrets", SECRET, lambda seen: holds(seen, good))
    assert installation.pebble.orders() == 1


def test_certificate_that_is_put_in_by_name_serves_on(installation: Installation) -> None:
    """Whoever replaces it knowingly names it with the same edit."""
    installation.start()
    installation.apply()
    installation.await_ready()
    mine = issued([installation.zone.host("mx")])
    leaf = x509.load_pem_x509_certificates(mine["tls.crt"])[0]
    name = leaf.fingerprint(SHA256()).hex()
    write(installation, mine, {"mailtls.dev/adopt": name})
    installation.sandbox.wait_for(
        MAIL_SERVER_TLS,
        "mx",
        lambda seen: (seen or {})["status"]["secret"]["fingerprintSHA256"] == name,
    )
    installation.await_ready()
    assert installation.fingerprint() == name
    assert installation.pebble.orders() == 1


def write(installation: Installation, pair: dict[str, bytes], annotations: dict[str, str] | None = None) -> None:
    """Write a pair into the Secret as a person does."""
    data = {key: base64.b64encode(value).decode() for key, value in pair.items()}
    installation.sandbox.patch("secrets", SECRET, {"metadata": {"annotations": annotations or {}}, "data": data})


def holds(secret: Object | None, data: dict[str, str]) -> bool:
    """Whether a Secret holds exactly this."""
    return secret is not None and secret.get("data") == data


def is_labelled(secret: Object | None) -> bool:
    """Whether a Secret has our labels."""
    labels = (secret or {}).get("metadata", {}).get("labels") or {}
    return [labels.get(name) for name in LABELS] == ["mailtls", "mx"]


def was_replaced(times: int, resource: Object | None) -> bool:
    """Whether the status says that the Secret was put right so many times."""
    history = (resource or {}).get("status", {}).get("history") or []
    return [each["event"] for each in history].count("SecretReplaced") == times


def stored(resource: Object | None) -> str | None:
    """The fingerprint that the status knows."""
    found: str | None = (resource or {}).get("status", {}).get("secret", {}).get("fingerprintSHA256")
    return found
