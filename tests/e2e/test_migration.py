"""The pages for those who have certificates already, followed as printed, with what their tools really write."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from builders.authority import DAY, Authority, Issued
from e2e.elsewhere import await_fingerprint, await_served, trusting
from e2e.external_secrets import ExternalSecret
from e2e.limited import kubeconfig_of
from e2e.walkthrough import Page
from testbed.layout import NODE_ADDRESS
from testbed.mailserver import MailServer
from testbed.sandbox import condition_of

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.installation import Installation
    from testbed.api import Object
    from testbed.zones import NameServer

pytestmark = pytest.mark.cluster

SERVING_TYPE = "kubernetes.io/tls"


def page(installation: Installation, name: str, tmp_path: Path, *, workload: bool = True) -> Page:
    """A page for a reader who stands in an empty folder, with two Postfix pods that mount the Secret."""
    (tmp_path / "reader").mkdir()
    if workload:
        MailServer(installation.sandbox, installation.zone.host("mx1")).deploy()
    return Page(installation, name, tmp_path / "reader")


def put_files(folder: Path, issued: Issued) -> None:
    """Write a pair as a CA sends it."""
    (folder / "fullchain.pem").write_text(issued.chain, encoding="utf-8")
    (folder / "privkey.pem").write_text(issued.key, encoding="utf-8")


def message(seen: Object, condition: str = "Issued") -> str:
    """What a condition says."""
    found = condition_of(seen, condition)
    assert found is not None
    return str(found["message"])


def restarts(installation: Installation) -> list[tuple[str, int]]:
    """The pods by their uid, with how often their container was started again."""
    pods = installation.sandbox.objects("pods", "app=postfix")
    return sorted((pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"]) for pod in pods)


def test_secret_made_by_hand_is_rolled_out_and_replaced_by_hand(installation: Installation, tmp_path: Path) -> None:
    """The page about it, with a pair that is refused on the way, and an older one that is asked for."""
    authority, host = Authority(), installation.zone.host("mx1")
    installation.more = trusting(installation, authority)
    reader = page(installation, "from-a-hand-made-secret.md", tmp_path, workload=False)
    old = authority.issue(host, begins=dt.datetime.now(dt.UTC) - 10 * DAY)
    put_files(reader.folder, old)
    reader.run(
        "kubectl create secret tls mx-tls --cert=fullchain.pem --key=privkey.pem "
        f"--namespace {installation.sandbox.name}"
    )
    MailServer(installation.sandbox, host).deploy()
    pods = restarts(installation)
    installation.start()
    reader.follow("The first time")
    assert "written by a person (with kubectl-create)" in message(await_served(installation, old))

    new = authority.issue(host)
    put_files(reader.folder, new)
    (reader.folder / "old.pem").write_text(old.chain, encoding="utf-8")
    assert "mx " in reader.follow("The next certificate")
    seen = await_served(installation, new)
    assert "written by a person (with kubectl)" in message(seen)
    assert "last-applied" not in str(installation.sandbox.get("secrets", "mx-tls")["metadata"])

    put_files(reader.folder, old)
    reader.follow("The next certificate")
    await_served(installation, old)
    assert restarts(installation) == pods
    reader.expect_all_followed()


def test_certbots_renewal_reaches_every_pod_by_its_deploy_hook(
    installation: Installation, names: NameServer, tmp_path: Path
) -> None:
    """The page about it, with the real certbot: the hook writes the Secret, and nothing else is needed."""
    host, sandbox = installation.zone.host("mx1"), installation.sandbox
    names.set_record(installation.zone, host, "A", NODE_ADDRESS)
    reader = page(installation, "from-certbot.md", tmp_path)
    etc = certbot_folder(installation, tmp_path / "letsencrypt")
    reader.mounts = {"/etc/letsencrypt": etc}
    reader.environment = {"REQUESTS_CA_BUNDLE": str(installation.pebble.authority)}
    reader.run(f"certbot certonly --standalone -d {host}")
    reader.follow("Who may write the Secret")
    sandbox.apply(*account("certbot"))
    (etc / "mail-secret.kubeconfig").write_text(kubeconfig_of(installation, "certbot"), encoding="utf-8")
    pods = restarts(installation)
    installation.start()
    reader.follow("The hook")
    reader.follow("The first time")
    first = served(installation)
    assert "written by a person (with kubectl)" in message(installation.get())

    said = reader.follow("See a renewal")
    renewed = said.rpartition("=")[2].strip().replace(":", "").lower()
    assert renewed not in first
    await_fingerprint(installation, renewed)
    assert restarts(installation) == pods
    assert "last-applied" not in str(sandbox.get("secrets", "mx-tls")["metadata"])
    reader.expect_all_followed()


def certbot_folder(installation: Installation, folder: Path) -> Path:
    """What stands for /etc/letsencrypt: certbot's settings lead it to the test's CA and spare the machine."""
    (folder / "renewal-hooks" / "deploy").mkdir(parents=True)
    settings = {
        "server": installation.pebble.directory_url,
        "work-dir": folder / "work",
        "logs-dir": folder / "logs",
        "email": f"postmaster@{installation.zone.name}",
        "agree-tos": "true",
        "non-interactive": "true",
        "no-random-sleep-on-renew": "true",
    }
    lines = (f"{name} = {value}" for name, value in settings.items())
    (folder / "cli.ini").write_text("\n".join(lines), encoding="utf-8")
    return folder


def account(name: str) -> tuple[Object, Object]:
    """A service account, bound to the Role of its name."""
    group = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name}],
    }
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}, binding


def served(installation: Installation) -> set[str]:
    """The certificates that pods were seen to serve."""
    return {each["servedFingerprintSHA256"] for each in installation.get()["status"]["endpoints"]}


def test_what_external_secrets_writes_reaches_the_pods_of_two_resources_and_is_handed_over(
    installation: Installation, tmp_path: Path
) -> None:
    """The page about it, beside a second resource with the same Secret; then it goes, and the Secret stays."""
    authority, host, sandbox = Authority(), installation.zone.host("mx1"), installation.sandbox
    installation.more = trusting(installation, authority)
    reader = page(installation, "from-external-secrets.md", tmp_path, workload=False)
    first = authority.issue(host, begins=dt.datetime.now(dt.UTC) - 10 * DAY)
    store = ExternalSecret.create(sandbox, "mx", "mx-tls")
    store.sync(first)
    MailServer(sandbox, host, replicas=1).deploy(wait=False)
    MailServer(sandbox, host, name="edge", replicas=1).deploy()
    pods = restarts(installation)
    installation.start()
    installation.apply("mx1", name="edge", external={}, workloads=[{"kind": "StatefulSet", "name": "edge"}])
    reader.follow("The first time")
    assert "written by External Secrets (ExternalSecret mx)" in message(await_served(installation, first))
    await_served(installation, first, "edge")

    reader.follow("See a renewal")
    second = authority.issue(host)
    store.sync(second)
    await_served(installation, second)
    await_served(installation, second, "edge")
    assert restarts(installation) == pods

    installation.delete("edge")
    before = sandbox.get("secrets", "mx-tls")["data"]
    store.follow_policy_while(lambda: reader.follow("Back again"))
    assert reader.run(f"kubectl get secret mx-tls --namespace {sandbox.name} -o jsonpath='{{.type}}'") == SERVING_TYPE
    hand_over(installation, tmp_path, second)
    assert sandbox.get("secrets", "mx-tls")["data"] == before
    assert restarts(installation) == pods
    reader.expect_all_followed()


def hand_over(installation: Installation, folder: Path, serving: Issued) -> None:
    """Follow the steps by which mailtls takes a Secret over, and look whether what is served stays the same."""
    (folder / "back").mkdir()
    Page(installation, "external.md", folder / "back").follow("Back again")
    assert served(installation) == {serving.sha256}
    assert "SecretAdopted" in {each["reason"] for each in installation.sandbox.events("mx")}
    assert installation.pebble.orders() == 0
