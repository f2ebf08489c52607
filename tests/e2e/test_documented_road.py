"""The manifests of the documentation, taken out of its pages and followed on the cluster as a new user would."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from contracts.snippets import objects
from testbed.images import POSTFIX
from testbed.mailserver import is_rolled_out
from testbed.sandbox import MAIL_SERVER_TLS, condition_of

if TYPE_CHECKING:
    from e2e.installation import Installation
    from testbed.api import Object

pytestmark = pytest.mark.cluster

PROMISED = dt.timedelta(seconds=60)
"""From the certificate in its Secret to Ready, with nobody's help."""


@pytest.mark.parametrize("page", ["postfix.md", "first-certificate.md"])
def test_manifests_of_the_documentation_end_in_ready_by_themselves(installation: Installation, page: str) -> None:
    """The pods start on the placeholder of their image, then the first certificate comes, and nobody restarts them."""
    workload, resource = local(installation, first("postfix.md", "StatefulSet")), first(page, "MailServerTLS")
    installation.sandbox.apply(workload)
    installation.sandbox.wait_for("statefulsets.apps", workload["metadata"]["name"], is_rolled_out)
    installation.start()
    installation.sandbox.apply(local(installation, resource))
    expect_ready_in_time(installation, resource["metadata"]["name"])


def test_workload_and_resource_that_are_applied_together_end_in_ready_by_themselves(installation: Installation) -> None:
    """The certificate may come while the pods start, before or after they have read the folder."""
    workload, resource = first("postfix.md", "StatefulSet"), first("postfix.md", "MailServerTLS")
    installation.start()
    installation.sandbox.apply(local(installation, resource), local(installation, workload))
    expect_ready_in_time(installation, resource["metadata"]["name"])


def first(page: str, kind: str) -> Object:
    """The first object of a kind on a page."""
    return next(found for place, found in objects() if place.startswith(f"{page}:") and found["kind"] == kind)


def local(installation: Installation, manifest: Object) -> Object:
    """The manifest with what a reader has to replace: namespace, image, names and the ACME server."""
    manifest["metadata"]["namespace"] = installation.sandbox.name
    if manifest["kind"] == "StatefulSet":
        for container in manifest["spec"]["template"]["spec"]["containers"]:
            container |= {"image": POSTFIX, "imagePullPolicy": "IfNotPresent"}
    else:
        names = [name.partition(".")[0] for name in manifest["spec"]["dnsNames"]]
        manifest["spec"]["dnsNames"] = [installation.zone.host(name) for name in names]
        manifest["spec"].pop("acme", None)
    return manifest


def expect_ready_in_time(installation: Installation, name: str) -> None:
    """Ready comes by itself, and soon after the certificate was stored."""
    ready = condition_of(installation.await_ready(name), "Ready")
    assert ready is not None
    resource = installation.sandbox.get(MAIL_SERVER_TLS, name)
    stored = installation.sandbox.get("secrets", resource["spec"]["secretName"])["metadata"]["creationTimestamp"]
    took = dt.datetime.fromisoformat(ready["lastTransitionTime"]) - dt.datetime.fromisoformat(stored)
    assert took <= PROMISED, took
    print(f"Ready {took} after the certificate was stored")
