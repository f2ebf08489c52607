"""Certificates that somebody else writes into the Secret: written as their tools do, and seen in the pods."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from builders.authority import DAY, RECORDED, Authority, Issued, cert_manager_secret
from e2e.installation import SECRET, Installation
from testbed.mailserver import MailServer
from testbed.sandbox import MAIL_SERVER_TLS, condition_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from testbed.api import Object
    from testbed.sandbox import Sandbox


def write(
    installation: Installation, issued: Issued, instead: Mapping[str, str] | None = None, *, as_it_does: str = "issued"
) -> Object:
    """Apply a pair as cert-manager does: server-side, by its own field manager; `instead` replaces entries."""
    body = cert_manager_secret(installation.sandbox.name, SECRET, issued, as_it_does=as_it_does)
    body["data"] |= instead or {}
    path = f"/api/v1/namespaces/{installation.sandbox.name}/secrets/{SECRET}"
    apply = "application/apply-patch+yaml"
    written: Object = installation.sandbox.api.request(
        "PATCH", path, body=body, kind=apply, fieldManager=RECORDED["manager"], force="true"
    )
    return written


def define(sandbox: Sandbox, group: str, kind: str, version: str = "v1") -> str:
    """Make a kind of somebody else's known to the API server, with any content; gives what `Sandbox.get` calls it."""
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {
        "group": group,
        "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
        "scope": "Namespaced",
        "versions": [served],
    }
    resource = f"{plural}.{group}"
    definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    sandbox.apply({**definition, "metadata": {"name": resource}, "spec": spec})
    sandbox.cluster.kubectl("wait", "--for=condition=Established", "--timeout=120s", "crd", resource)
    return resource


def trusting(installation: Installation, authority: Authority) -> dict[str, str]:
    """Settings by which an installation trusts a private CA, as `trust` in the chart's values does."""
    bundle = installation.folder / "roots-of-a-private-ca.pem"
    bundle.write_text(installation.pebble.root() + authority.root_pem, encoding="utf-8")
    return {"MAILTLS_TRUST_BUNDLE_FILE": str(bundle)}


def await_served(installation: Installation, issued: Issued, name: str = "mx") -> Object:
    """Wait until every pod is verified to serve a certificate."""
    return await_fingerprint(installation, issued.sha256, name)


def await_fingerprint(installation: Installation, sha256: str, name: str = "mx") -> Object:
    """Wait until every pod is verified to serve a certificate, and all is Ready."""

    def is_served(seen: Object | None) -> bool:
        ready = condition_of(seen, "Ready")
        status = (seen or {}).get("status", {})
        served = {each.get("servedFingerprintSHA256") for each in status.get("endpoints", ())}
        return ready is not None and ready["status"] == "True" and served == {sha256}

    seen = installation.sandbox.wait_for(MAIL_SERVER_TLS, name, is_served)
    assert seen is not None
    return seen


def await_refused(installation: Installation, reason: str, serving: Issued) -> None:
    """Wait until the gate has said why, and the pods were verified to serve what they did."""

    def is_refused(seen: Object | None) -> bool:
        issued, verified = condition_of(seen, "Issued"), condition_of(seen, "Verified")
        served = {each.get("servedFingerprintSHA256") for each in (seen or {}).get("status", {}).get("endpoints", ())}
        is_said = issued is not None and f"goes to no pod: {reason}: " in issued["message"]
        return is_said and verified is not None and verified["status"] == "True" and served == {serving.sha256}

    installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", is_refused)


def begin(installation: Installation, authority: Authority, host: str, **spec: Any) -> Issued:
    """Have cert-manager's first certificate served by two pods, and the operator know of it."""
    sandbox = installation.sandbox
    data = {"ca.crt": authority.root_pem}
    sandbox.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "roots"}, "data": data})
    first = authority.issue(host, begins=dt.datetime.now(dt.UTC) - 10 * DAY)
    write(installation, first)
    MailServer(sandbox, host, keeps=True).deploy()
    workloads = [{"kind": "StatefulSet", "name": "postfix"}]
    trust = {"configMapKeyRef": {"name": "roots", "key": "ca.crt"}}
    installation.apply(external={}, workloads=workloads, probe={"trust": trust}, **spec)
    return first
