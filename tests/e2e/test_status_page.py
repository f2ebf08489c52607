"""The status page before a real API server, with the chart's own rights: who may see what, and what changes then."""

from __future__ import annotations

import json
import time
from functools import partial
from http.client import HTTPConnection
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from contracts.render import helm_template
from e2e.conftest import load
from e2e.limited import NEEDED_OF_THE_CHART, kubeconfig_of, token_of
from mailtls.page.serving import StatusPage
from testbed.sandbox import MAIL_SERVER_TLS, PATIENCE, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from testbed.api import Api
    from testbed.cluster import Cluster

pytestmark = pytest.mark.cluster

READING = {"apiGroups": ["mailtls.dev"], "resources": ["mailservertls"], "verbs": ["get", "list"]}


@pytest.fixture
def other(cluster: Cluster, api: Api) -> Iterator[Sandbox]:
    """Another tenant's namespace."""
    sandbox = Sandbox.create(cluster, api, "other-tenant")
    yield sandbox
    sandbox.remove()


@pytest.fixture
def port(crd: None, sandbox: Sandbox, other: Sandbox, tmp_path: Path) -> Iterator[int]:
    """The page for both namespaces, served with the rights that the chart grants for it and no others."""
    name = f"page-{sandbox.name[-8:]}"
    done = helm_template(
        *("--namespace", sandbox.name, "--no-hooks", "--set", f"fullnameOverride={name},crds.enabled=false"),
        *("--set", "statusPage.enabled=true", "--set", f"watchNamespaces={{{sandbox.name},{other.name}}}"),
    )
    assert done.returncode == 0, done.stderr
    rendered = [each for each in yaml.safe_load_all(done.stdout) if each]
    sandbox.apply(*(each for each in rendered if each["kind"] in {*NEEDED_OF_THE_CHART, "ClusterRoleBinding"}))
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(kubeconfig_of(sandbox, name), encoding="utf-8")
    stopping = Event()
    page = StatusPage(0, None, partial(load, str(kubeconfig)), (sandbox.name, other.name), stopping)
    found = page.start()
    assert found is not None
    yield found
    stopping.set()
    page.stop()
    sandbox.delete("clusterrolebindings", f"{name}-status-page")


def reader(sandbox: Sandbox) -> str:
    """A token of somebody who may read the mail servers of a namespace, and nothing else."""
    sandbox.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "reader"},
            "rules": [READING],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "reader"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": sandbox.name}],
        },
    )
    return token_of(sandbox, "reader")


def mail_server(sandbox: Sandbox, host: str) -> None:
    """A mail server in a namespace."""
    sandbox.apply(
        {
            "apiVersion": "mailtls.dev/v1alpha1",
            "kind": "MailServerTLS",
            "metadata": {"name": "mx"},
            "spec": {"dnsNames": [host], "secretName": "mx-tls", "external": {}},
        }
    )


def ask(port: int, path: str, token: str) -> tuple[int, str]:
    """Send one request."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def eventually(found: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    """Return what is found once it is as wanted."""
    ends_at = time.monotonic() + PATIENCE
    while not wanted(last := found()):
        assert time.monotonic() < ends_at, last
        time.sleep(0.5)
    return last


def test_tenant_sees_his_mail_servers_and_nobody_elses(port: int, sandbox: Sandbox, other: Sandbox) -> None:
    """As the API server's roles say, at this moment: what changes is seen soon, a right that goes is gone soon."""
    mail_server(sandbox, "mx.own.example")
    mail_server(other, "mx.foreign.example")
    token, mine = reader(sandbox), f"/?namespace={sandbox.name}&format=json"
    status, listed = eventually(lambda: ask(port, mine, token), lambda answer: "mx.own.example" in answer[1])
    assert (status, json.loads(listed)["total"]) == (200, 1)
    assert ask(port, f"/{sandbox.name}/mx", token)[0] == 200
    refused = [ask(port, path, token) for path in ("/", f"/?namespace={other.name}", f"/{other.name}/mx")]
    assert [each[0] for each in refused] == [403] * 3
    assert "mx.foreign.example" not in "".join(each[1] for each in refused)
    assert ask(port, mine, f"{token[:-4]}AAAA")[0] == 401

    sandbox.patch(MAIL_SERVER_TLS, "mx", {"status": {"served": "2/3"}}, subresource="status")
    eventually(lambda: ask(port, mine, token)[1], lambda seen: '"served": "2/3"' in seen)
    sandbox.delete(MAIL_SERVER_TLS, "mx")
    eventually(lambda: ask(port, f"/{sandbox.name}/mx", token)[0], lambda seen: seen == 404)
    sandbox.delete("rolebindings", "reader")
    eventually(lambda: ask(port, mine, token)[0], lambda seen: seen == 403)
