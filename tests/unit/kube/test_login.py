"""A kubeconfig that is none ends in one sentence, whatever is wrong with it."""

import json
import sys
from pathlib import Path

import pytest
from kubernetes.config import incluster_config

from mailtls.kube.login import NotConfigured, configure, current_namespace

CONTEXT = "{name: there, context: {cluster: c, user: u, namespace: mail}}"
GOOD = (
    "{apiVersion: v1, kind: Config, current-context: there, contexts: [" + CONTEXT + "], "
    "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: u, user: {token: t}}]}"
)
UNUSABLE = "The kubeconfig cannot be used ({}): correct it, or name another."
API_VERSION = "client.authentication.k8s.io/v1"
CREDENTIAL = {"apiVersion": API_VERSION, "kind": "ExecCredential", "status": {}}


@pytest.mark.parametrize(
    "content", ["", "nothing", "a: [", "[]", "contexts: 1\ncurrent-context: a", "\x00", "{contexts: [{name: 1}]}"]
)
@pytest.mark.parametrize("context", [None, "there"])
def test_file_that_is_no_kubeconfig_is_refused(content: str, context: str | None, tmp_path: Path) -> None:
    """Never with the loader's own exception; and the namespace falls back to the usual one."""
    (tmp_path / "config").write_text(content)
    with pytest.raises(NotConfigured, match=r"^The kubeconfig .*[a-z]\.$"):
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


@pytest.mark.parametrize(
    ("content", "context", "sentence"),
    [
        (None, None, "There is no kubeconfig at {}: set KUBECONFIG to the path of one."),
        (GOOD, "nope", "The kubeconfig has no context «nope»; kubectl config get-contexts lists them."),
        (
            GOOD.replace("current-context: there, ", ""),
            None,
            "The kubeconfig has no current context: choose one by kubectl config use-context, or by --context.",
        ),
        (
            "a: [\n",
            None,
            UNUSABLE.format("expected the node content, but found '<stream end>' in {}, line 2"),
        ),
        (
            GOOD.replace("{server:", "{certificate-authority: /nope/ca.crt, server:"),
            None,
            UNUSABLE.format("File does not exist: /nope/ca.crt"),
        ),
    ],
)
def test_each_cause_has_its_own_sentence(
    content: str | None, context: str | None, sentence: str, tmp_path: Path
) -> None:
    """On one line, with what to do, and without the loader's own words for it."""
    file = tmp_path / "config"
    if content is not None:
        file.write_text(content)
    with pytest.raises(NotConfigured) as refused:
        configure(context, str(file))
    assert str(refused.value) == sentence.format(file)


def with_login(folder: Path, code: str) -> str:
    """A kubeconfig whose user logs in by running this."""
    login = {"apiVersion": API_VERSION, "command": sys.executable, "args": ["-c", code]}
    file = folder / "config"
    file.write_text(GOOD.replace("{token: t}", json.dumps({"exec": login})))
    return str(file)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (
            "import sys; sys.exit('Your session\\nhas \\x1b[31mexpired')",
            r"process returned 1. Your session has \x1b[31mexpired",
        ),
        ("print('{}')", "malformed response. missing key 'apiVersion'"),
        (f"print({json.dumps(CREDENTIAL)!r})", "missing token or clientCertificateData field in plugin output"),
    ],
)
def test_login_command_that_fails_is_named(
    code: str, cause: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody goes on without credentials, which the API server would call a missing right; nothing is logged."""
    with pytest.raises(NotConfigured) as refused:
        configure(None, with_login(tmp_path, code))
    assert str(refused.value) == (
        f"The login command «{sys.executable}» of the kubeconfig gave no credentials ({cause}): "
        "install it, or log in again."
    )
    assert caplog.records == []


def test_login_command_that_is_not_installed_is_named(tmp_path: Path) -> None:
    """As in somebody else's kubeconfig."""
    (tmp_path / "config").write_text(
        GOOD.replace("{token: t}", f"{{exec: {{apiVersion: {API_VERSION}, command: nosuchlogin}}}}")
    )
    with pytest.raises(
        NotConfigured, match=r"login command «nosuchlogin» .* \(No such file or directory: 'nosuchlogin'\): install"
    ):
        configure(None, str(tmp_path / "config"))


def test_login_command_gives_the_token(tmp_path: Path) -> None:
    """What it prints is taken."""
    credential = json.dumps(CREDENTIAL | {"status": {"token": "fresh"}})
    assert configure(None, with_login(tmp_path, f"print({credential!r})")).api_key == {"BearerToken": "Bearer fresh"}
