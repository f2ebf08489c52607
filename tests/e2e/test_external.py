"""Secrets that cert-manager writes, on a real cluster: rolled out from there, checked before, and never written."""

from __future__ import annotations

import datetime as dt
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from builders.authority import DAY, Authority, Issued, cert_manager_secret
from e2e.elsewhere import await_refused, await_served, begin, write
from e2e.installation import SECRET, Installation
from e2e.limited import ACCOUNT, limit
from testbed.layout import project_folder
from testbed.sandbox import MAIL_SERVER_TLS, condition_of

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.api import Object

pytestmark = pytest.mark.cluster

STAGING_ROOTS = project_folder() / "operator" / "mailtls" / "probe" / "tls" / "letsencrypt-staging.pem"
SECRETS = 5_000
MOST_MEMORY = 20.0  # MiB, for all of them


def may_write_secrets(installation: Installation) -> list[str]:
    """The verbs on Secrets that the operator's account has, of those that change one."""
    sandbox, verbs = installation.sandbox, ("create", "update", "patch", "delete", "deletecollection")
    user = f"system:serviceaccount:{sandbox.name}:{ACCOUNT}"
    reviews = [
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": user,
                "resourceAttributes": {"namespace": sandbox.name, "resource": "secrets", "verb": verb},
            },
        }
        for verb in ("get", *verbs)
    ]
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    allowed = [bool(sandbox.api.request("POST", path, body=each)["status"].get("allowed")) for each in reviews]
    assert allowed[0], "its account is not what it should be"
    return [verb for verb, is_allowed in zip(verbs, allowed[1:], strict=True) if is_allowed]


def test_cert_managers_renewals_reach_every_pod_and_bad_pairs_none_without_a_right_to_write_secrets(
    installation: Installation, tmp_path: Path
) -> None:
    """An installation with the chart's value for this alone follows renewals, and leaves what is bad in the Secret."""
    limit(installation, tmp_path, "features.issuance=false")
    assert may_write_secrets(installation) == []
    authority, host, staging = (
        Authority(),
        installation.zone.host("mx"),
        Authority("Root of Let's Encrypt's staging CA"),
    )
    (tmp_path / "staging.pem").write_text(staging.root_pem, encoding="utf-8")
    installation.mounts = {str(STAGING_ROOTS): tmp_path / "staging.pem"}
    first = begin(installation, authority, host)
    operator = installation.start()
    await_served(installation, first)

    renewed, began = authority.issue(host), time.monotonic()
    write(installation, renewed)
    seen = await_served(installation, renewed)
    print(f"renewed in both pods after {time.monotonic() - began:.1f} s")
    issued = condition_of(seen, "Issued")
    assert issued is not None
    assert "written by cert-manager (Certificate mx-cert, issuer letsencrypt)" in issued["message"]

    other_key = cert_manager_secret("x", "x", authority.issue(host))["data"]["tls.key"]
    now = dt.datetime.now(dt.UTC)
    bad: list[tuple[str, Issued, dict[str, str]]] = [
        ("CertificateKeyMismatch", authority.issue(host), {"tls.key": other_key}),
        ("CertificateNamesMismatch", authority.issue("www.example.com"), {}),
        ("WrongCertificatePurpose", authority.issue(host, purposes=[ExtendedKeyUsageOID.CLIENT_AUTH]), {}),
        ("IncompleteChain", Authority("Another").issue(host), {}),
        ("CertificateWorse", authority.issue(host, begins=now - 30 * DAY), {}),
        ("StagingCertificate", staging.issue(host), {}),
    ]
    for reason, pair, instead in bad:
        written = write(installation, pair, instead)
        await_refused(installation, reason, renewed)
        assert installation.sandbox.get("secrets", SECRET) == written

    written = write(installation, authority.issue(host, begins=now - 10 * DAY, lasts=9 * DAY))
    message = installation.await_reason("CertificateExpired")["message"]
    assert "cert-manager (Certificate mx-cert, issuer letsencrypt) has not renewed it" in message
    assert installation.sandbox.get("secrets", SECRET) == written

    last, began = authority.issue(host), time.monotonic()
    written = write(installation, last)
    await_served(installation, last)
    print(f"good again in both pods after {time.monotonic() - began:.1f} s")
    assert installation.sandbox.get("secrets", SECRET) == written
    names = [each["metadata"]["name"] for each in installation.sandbox.objects("secrets")]
    assert [name for name in names if name.startswith(SECRET)] == [SECRET]
    pods = installation.sandbox.objects("pods", "app=postfix")
    restarts = [pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods]
    assert restarts == [0, 0]
    assert "orbidden" not in operator.text()


def test_five_thousand_secrets_of_others_cost_the_operator_next_to_no_memory(installation: Installation) -> None:
    """What happens to TLS Secrets that no resource names is let go of at once; the one that is named is noticed."""
    authority, host = Authority(), installation.zone.host("mx")
    first = authority.issue(host, begins=dt.datetime.now(dt.UTC) - 10 * DAY)
    write(installation, first)
    roots = {"ca.crt": authority.root_pem}
    installation.sandbox.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "roots"}, "data": roots})
    trust = {"configMapKeyRef": {"name": "roots", "key": "ca.crt"}}
    operator = installation.start()
    installation.apply(external={}, probe={"trust": trust})
    installation.await_ready()
    before = operator.memory()

    path = f"/api/v1/namespaces/{installation.sandbox.name}/secrets"
    body = cert_manager_secret(installation.sandbox.name, "", first)

    def create(number: int) -> None:
        named = body | {"metadata": body["metadata"] | {"name": f"tls-{number}"}}
        installation.sandbox.api.request("POST", path, body=named)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(create, range(SECRETS)))
    renewed, began = authority.issue(host), time.monotonic()
    write(installation, renewed)  # its event comes behind all others

    def is_noticed(seen: Object | None) -> bool:
        return bool((seen or {})["status"]["certificate"]["fingerprintSHA256"] == renewed.sha256)

    installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", is_noticed)
    print(f"noticed and reported after {time.monotonic() - began:.1f} s; {before:.1f} -> {operator.memory():.1f} MiB")
    assert operator.memory() - before < MOST_MEMORY


def test_resource_that_orders_says_which_feature_is_off(installation: Installation, tmp_path: Path) -> None:
    """Without the feature nothing is ordered, and what to set is named."""
    limit(installation, tmp_path, "features.issuance=false")
    operator = installation.start()
    installation.apply()
    message = installation.await_reason("FeatureDisabled")["message"]
    assert "features.issuance is false" in message
    assert installation.pebble.orders() == 0
    assert "orbidden" not in operator.text()
