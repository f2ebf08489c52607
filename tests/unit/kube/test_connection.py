"""A kubeconfig that is none ends in one sentence, whatever is wrong with it."""

from pathlib import Path

import pytest
from kubernetes.config import incluster_config

from mailtls.kube.connection import NotConfigured, configure, current_namespace

CONTEXT = "{name: there, context: {cluster: c, user: u, namespace: mail}}"
GOOD = (
    "{apiVersion: v1, kind: Config, current-context: there, contexts: [" + CONTEXT + "], "
    "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: u, user: {token: t}}]}"
)


@pytest.mark.parametrize(
    "content", ["", "nothing", "a: [", "[]", "contexts: 1\ncurrent-context: a", "\x00", "{contexts: [{name: 1}]}"]
)
@pytest.mark.parametrize("context", [None, "there"])
def test_file_that_is_no_kubeconfig_is_refused(content: str, context: str | None, tmp_path: Path) -> None:
    """Never with the loader's own exception; and the namespace falls back to the usual one."""
    (tmp_path / "config").write_text(content)
    with pytest.raises(NotConfigured, match="No cluster to talk to"):
        configure(context, str(tmp_path / "config"))
    assert current_namespace(context, str(tmp_path / "config")) == "default"


@pytest.mark.parametrize("context", [None, "there"])
def test_namespace_of_the_context_is_meant(context: str | None, tmp_path: Path) -> None:
    """As kubectl has it."""
    (tmp_path / "config").write_text(GOOD)
    assert current_namespace(context, str(tmp_path / "config")) == "mail"


def test_kubeconfig_that_is_named_wins_over_the_pods_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a runner's pod, somebody who names another cluster means that one."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("of-the-pod")
    authority.write_text("-----BEGIN CERTIFICATE-----")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    (tmp_path / "config").write_text(GOOD)
    assert configure(None, str(tmp_path / "config")).host == "https://127.0.0.1:1"
    assert configure().host == "https://192.0.2.1:443"
