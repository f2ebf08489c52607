"""Preflight's own parts: manifests, lines, exit codes; what it asks of others is tested where they are."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from builders import kube
from builders.authority import Issued, cert_manager_secret
from builders.rolling import SMTP, workload
from builders.stories import NOW, desired
from fakes.cluster import FakeCluster
from mailtls.api.reading.document import Json
from mailtls.api.resource import Request, resources_path
from mailtls.api.resource_view import ResourceView, refused
from mailtls.api.spec import Key, Probe
from mailtls.api.workload import Workload
from mailtls.cli.app import app
from mailtls.cli.cluster import Connected
from mailtls.cli.errors import ExitCode
from mailtls.cli.output.words import preflight_line, preflight_summary
from mailtls.cli.preflight import serving
from mailtls.cli.preflight.place import Place
from mailtls.cli.preflight_command import InvalidManifest, _installation, read_manifests
from mailtls.cli.results import Line, Verdict, bad, doubtful, exit_code, good, unseen
from mailtls.kube.bounds import MOST_ENDPOINTS
from mailtls.kube.interface import ApiError
from mailtls.kube.rights import find_installation
from mailtls.reasons.reason import Finding, Reason

FAULT = Finding(Reason.SUB_PATH_MOUNT, "Container postfix mounts it by subPath.")
MANIFEST = "apiVersion: mailtls.dev/v1alpha1\nkind: MailServerTLS\nmetadata: {name: mx}\nspec: {}\n"


@pytest.mark.parametrize(
    ("lines", "code", "strict"),
    [
        ([], ExitCode.GOOD, ExitCode.GOOD),
        ([good("a", "b")], ExitCode.GOOD, ExitCode.GOOD),
        ([doubtful("a", "b")], ExitCode.GOOD, ExitCode.FAULTY),
        ([bad("a", FAULT), unseen("a", "b")], ExitCode.FAULTY, ExitCode.FAULTY),
        ([good("a", "b"), unseen("a", "b")], ExitCode.BLIND, ExitCode.BLIND),
    ],
)
def test_lines_earn_their_exit_code(lines: list[Line], code: ExitCode, strict: ExitCode) -> None:
    """A fault that was seen outweighs what could not be seen."""
    assert (exit_code(lines), exit_code(lines, strict=True)) == (code, strict)


def test_fault_is_shown_with_reason_and_fix() -> None:
    """As documented, word by word."""
    shown = preflight_line(bad("workload", FAULT))
    assert shown.startswith(
        "FAIL workload   Container postfix mounts it by subPath. (SubPathMount)\n                Fix: "
    )
    assert preflight_line(good("dns", "mx has \x1b[2J.")) == "OK   dns        mx has \\x1b[2J."
    assert preflight_summary([good("a", "b"), bad("a", FAULT)]) == "1 good, 1 failing."


def test_manifests_are_found_among_others() -> None:
    """A file with a StatefulSet, a resource and a List of one."""
    listed = "---\nkind: List\nitems:\n- {apiVersion: mailtls.dev/v1alpha1, kind: MailServerTLS, metadata: {name: b}}\n"
    found = read_manifests(f"kind: StatefulSet\n---\n{MANIFEST}{listed}---\n", "mail")
    assert [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in found] == [
        ("mail", "mx"),
        ("mail", "b"),
    ]


_NESTED = "[&l0 [x]" + "".join(f", &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9)) + "]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no MailServerTLS"),
        ("a: [", "no YAML"),
        ("{" * 5000, "no YAML"),
        ("kind: MailServerTLS", "apiVersion"),
        ("apiVersion: mailtls.dev/v1alpha1\nkind: MailServerTLS", "metadata.name"),
    ],
)
def test_file_that_is_no_manifest_is_refused(text: str, words: str) -> None:
    """In one sentence."""
    with pytest.raises(InvalidManifest, match=words):
        read_manifests(text, "mail")


@pytest.mark.parametrize("spec", ["&l [*l]", _NESTED], ids=["holds itself", "ten to the power of eight"])
def test_manifest_that_aliases_make_endless_is_refused(spec: str) -> None:
    """A few lines may mean more values than any memory holds, and whoever says what is wrong would write them out."""
    with pytest.raises(InvalidManifest, match="more than 200000 values"):
        read_manifests(f"{MANIFEST}x: {spec}\n", "mail")


@given(st.text() | st.text("-{}[]:&* \n!ab"))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Never another exception."""
    with pytest.raises(InvalidManifest):
        read_manifests(text, "mail")


def test_operator_is_found_with_its_settings() -> None:
    """Variables that the kubelet fills in, and those of files that only its pods have, are not; the namespace is."""
    cluster = FakeCluster()
    given = {"MAILTLS_ACME_SERVER": "x", "MAILTLS_ACME_CA_BUNDLE_FILE": "/etc/mailtls/acme-ca/acme-ca.crt"}
    variables = [{"name": name, "value": value} for name, value in given.items()]
    container = {"name": "operator", "env": [*variables, {"name": "POD_IP"}]}
    labels = {"app.kubernetes.io/name": "mailtls", "app.kubernetes.io/component": "operator"}
    cluster.objects["/apis/apps/v1/deployments/mailtls"] = {
        "metadata": {"namespace": "tls", "name": "mailtls", "labels": labels},
        "spec": {"template": {"spec": {"serviceAccountName": "robot", "containers": [container]}}},
    }
    found = find_installation(cluster)
    assert found is not None
    assert found.user == "system:serviceaccount:tls:robot"
    assert found.environment == {"MAILTLS_ACME_SERVER": "x", "MAILTLS_NAMESPACE": "tls"}


class GuardedCluster(FakeCluster):
    """Lets nobody see what is under the paths that a test names."""

    def __init__(self, *hidden: str) -> None:
        super().__init__()
        self.hidden = hidden

    def get(self, path: str) -> Json | None:
        """Return the object, or refuse."""
        self._require(path)
        return super().get(path)

    def list(self, path: str, *, label_selector: str = "") -> list[Json]:
        """Return the objects, or refuse."""
        self._require(path)
        return super().list(path, label_selector=label_selector)

    def rehearse(self, path: str, body: Json) -> Json:
        """Say that it would be taken, or refuse."""
        self._require(path)
        return body

    def _require(self, path: str) -> None:
        if any(each in path for each in self.hidden):
            raise ApiError(403, "Forbidden", f"cannot see {path}")


def _looked_at(cluster: GuardedCluster, *workloads: Workload, **place: Any) -> Iterator[Line]:
    wants = desired(workloads=workloads, probe=Probe())
    return serving.lines({"metadata": {}, "spec": {}}, wants, Place(NOW, cluster, **place))


def _looked(cluster: GuardedCluster, **place: Any) -> dict[str, list[Verdict]]:
    found: dict[str, list[Verdict]] = {}
    for line in _looked_at(cluster, **place):
        found.setdefault(line.topic, []).append(line.verdict)
    return found


def test_each_part_that_may_not_be_seen_is_told_and_the_others_are_looked_at() -> None:
    """Who may not list resources learns of the Secret all the same, and the other way round."""
    assert _looked(GuardedCluster("/mailservertls"))["secret"] == [Verdict.UNKNOWN, Verdict.OK]
    assert _looked(GuardedCluster("/secrets"))["secret"] == [Verdict.UNKNOWN]
    assert _looked(GuardedCluster())["secret"] == [Verdict.OK]


def test_operator_that_may_not_be_looked_for_leaves_its_rights_unknown() -> None:
    """Not found is doubtful; not to be looked for is not known."""
    assert _looked(GuardedCluster())["rights"] == [Verdict.WARN]
    assert _looked(GuardedCluster(), hidden="You may not.")["rights"] == [Verdict.UNKNOWN]


def test_workloads_that_have_too_many_endpoints_together_fail() -> None:
    """Each fits by itself; what counts is all that the resource lists."""
    cluster = GuardedCluster()
    ports = tuple(replace(SMTP, port=number) for number in range(1, MOST_ENDPOINTS // 2 + 1))  # at two addresses
    for name in ("postfix", "other"):
        body = kube.workload()
        body["metadata"]["name"] = name
        cluster.create("/apis/apps/v1/namespaces/mail/statefulsets", body)
    cluster.create("/api/v1/namespaces/mail/pods", kube.pod("postfix-0", labels={"app": "postfix"}))
    lines = _looked_at(cluster, workload(ports=ports), workload(name="other", ports=ports[:1]))
    found = [(each.verdict, each.reason) for each in lines if each.topic == "workload"]
    assert found == [(Verdict.OK, None), (Verdict.FAIL, Reason.TOO_MANY_ENDPOINTS)]


def test_operator_is_found_with_rights_in_its_namespace_only() -> None:
    """Who may not look everywhere need not name the namespace that the documentation names, nor the own one."""
    cluster = GuardedCluster("/apis/apps/v1/deployments")
    labels = {"app.kubernetes.io/name": "mailtls", "app.kubernetes.io/component": "operator"}
    cluster.objects["/apis/apps/v1/namespaces/mailtls/deployments/mailtls"] = {
        "metadata": {"namespace": "mailtls", "name": "mailtls", "labels": labels},
        "spec": {"template": {"spec": {"serviceAccountName": "robot", "containers": [{"name": "operator"}]}}},
    }
    found = _installation(Connected(cluster, "mail"), None)  # type: ignore[arg-type]
    assert found is not None
    assert found.user == "system:serviceaccount:mailtls:robot"
    cluster.objects.clear()
    with pytest.raises(ApiError):
        _installation(Connected(cluster, "mail"), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("secret", "verdict", "words"),
    [
        (None, Verdict.WARN, "does not exist yet"),
        (Issued("", "", ""), Verdict.OK, "written by cert-manager (Cert"),
    ],
)
def test_secret_of_somebody_else_is_neither_ordered_nor_taken_over(
    secret: Issued | None, verdict: Verdict, words: str
) -> None:
    """With spec.external nothing is asked of a CA or the DNS for it, and the Secret is told by who writes it."""
    cluster = FakeCluster()
    if secret is not None:
        cluster.create("/api/v1/namespaces/mail/secrets", cert_manager_secret("mail", "mx-tls", secret))
    resource: Json = {"metadata": {"name": "mx", "namespace": "mail"}, "spec": {}}
    place = Place(NOW, cluster)  # type: ignore[arg-type]
    (line,) = serving.whose_secrets(resource, desired(is_external=True), place, cluster)  # type: ignore[arg-type]
    assert (line.topic, line.verdict) == ("secret", verdict)
    assert words in line.message


def test_secret_that_another_resource_keeps_may_be_read() -> None:
    """With spec.external the older resource is no obstacle; without, it is."""
    cluster = FakeCluster()
    elder = {"name": "elder", "namespace": "mail", "uid": "u", "creationTimestamp": "2020-01-01T00:00:00Z"}
    cluster.create(
        resources_path("mail"),
        {"metadata": elder, "spec": {"secretName": "mx-tls"}},
    )
    resource: Json = {"metadata": {"name": "mx", "namespace": "mail"}, "spec": {"secretName": "mx-tls"}}

    def said(*, is_external: bool) -> list[Verdict]:
        wants = desired(is_external=is_external)
        lines = serving.whose_secrets(resource, wants, Place(NOW, cluster), cluster)  # type: ignore[arg-type]
        return [line.verdict for line in lines]

    assert said(is_external=True) == [Verdict.WARN]
    assert said(is_external=False) == [Verdict.FAIL]


def test_request_for_another_certificate_of_somebody_else_is_refused_at_once() -> None:
    """Who asks for it learns whom to ask; a probe is made all the same."""
    theirs, ours = ResourceView(Key("mail", "mx"), is_external=True), ResourceView(Key("mail", "mx"))
    assert refused(theirs, Request.RENEW).startswith("mail/mx: its Secret is written by somebody else (spec.external)")
    assert refused(theirs, Request.ROLLBACK)
    assert not refused(theirs, Request.PROBE)
    assert not refused(ours, Request.RENEW)


@pytest.mark.parametrize("arguments", [["-"], ["-f", "-"], ["--filename", "-"]])
def test_file_is_named_as_kubectl_has_it_too(arguments: list[str]) -> None:
    """Whoever knows kubectl writes -f."""
    done = CliRunner().invoke(app, ["preflight", "--offline", *arguments], input="kind: ConfigMap\n")
    assert (done.exit_code, done.stderr) == (2, "There is no MailServerTLS in it.\n")


@pytest.mark.parametrize("arguments", [[], ["mx.yaml", "-f", "mx.yaml"]])
def test_no_file_and_two_are_refused(arguments: list[str]) -> None:
    """One sentence shows how."""
    done = CliRunner().invoke(app, ["preflight", "--offline", *arguments])
    assert (done.exit_code, done.stderr) == (2, "Name one file, or - for standard input: mailtls preflight mx.yaml\n")
