"""The pages for those who have certificates already, followed as printed, with what their tools really write."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from builders.authority import DAY, RECORDED, Authority, Issued
from e2e.elsewhere import await_fingerprint, await_served, define, trusting, write
from e2e.events import await_told
from e2e.external_secrets import ExternalSecret
from e2e.walkthrough import Page
from testbed.layout import NODE_ADDRESS
from testbed.mailserver import MailServer, is_rolled_out
from testbed.sandbox import MAIL_SERVER_TLS, condition_of

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.installation import Installation
    from testbed.api import Object
    from testbed.sandbox import Sandbox
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
    assert (etc / "mail-secret.kubeconfig").stat().st_mode & 0o777 == 0o600
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


def served(installation: Installation) -> set[str]:
    """The certificates that pods were seen to serve."""
    return {each["servedFingerprintSHA256"] for each in installation.get()["status"]["endpoints"]}


def test_cert_managers_renewals_reach_the_pods_beside_reloader_and_without_it(
    installation: Installation, tmp_path: Path
) -> None:
    """The page about it, from the temporary certificate on; then cert-manager goes, and comes back."""
    authority, host, sandbox = Authority(), installation.zone.host("mx1"), installation.sandbox
    installation.more = trusting(installation, authority)
    reader = page(installation, "from-cert-manager.md", tmp_path, workload=False)
    reader.environment = cmctl(tmp_path)
    certificate = define(sandbox, "cert-manager.io", "Certificate")
    sandbox.apply({"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "mx-cert"}})
    written = write(installation, Authority("cert-manager.local").issue(host), as_it_does="temporary")
    assert written["metadata"]["managedFields"][0]["manager"] == RECORDED["manager"]
    workload = MailServer(sandbox, host).workload()
    workload["metadata"]["annotations"] = {"reloader.stakater.com/auto": "true"}
    sandbox.apply(workload)
    sandbox.wait_for("statefulsets.apps", "postfix", is_rolled_out)
    installation.start()
    first = authority.issue(host, begins=dt.datetime.now(dt.UTC) - 10 * DAY)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(reader.follow, "The first time")
        temporary = "cert-manager's temporary certificate"
        sandbox.wait_for(MAIL_SERVER_TLS, "mx", lambda seen: temporary in str(condition_of(seen, "Issued")))
        write(installation, first)
        assert "written by cert-manager (Certificate mx-cert, issuer letsencrypt)" in following.result()

    pods, second = restarts(installation), authority.issue(host, begins=dt.datetime.now(dt.UTC) - 5 * DAY)
    write(installation, second)
    as_reloader(sandbox, second)
    sandbox.wait_for("statefulsets.apps", "postfix", is_rolled_out)
    await_served(installation, second)
    restarted = restarts(installation)
    assert not {uid for uid, _ in pods} & {uid for uid, _ in restarted}, "Reloader replaces every pod"

    reader.follow("Reloader")
    assert "annotations" not in sandbox.get("statefulsets.apps", "postfix")["metadata"]
    third = authority.issue(host)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(write, installation, third)
        reader.follow("See a renewal")
    await_served(installation, third)
    assert restarts(installation) == restarted

    assert reader.follow("Back again").startswith("certificate.cert-manager.io")
    assert sandbox.find(certificate, "mx-cert") is None
    hand_over(installation, tmp_path, third)
    to_cert_manager(installation, tmp_path / "back", third, authority.issue(host))
    assert restarts(installation) == restarted
    assert sandbox.get("secrets", "mx-tls")["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "mailtls"
    assert installation.pebble.orders() == 0
    reader.expect_all_followed()


def to_cert_manager(installation: Installation, folder: Path, serving: Issued, following: Issued) -> None:
    """Follow the steps to another issuer: cert-manager takes what is there for its own, and renews it later."""
    Page(installation, "external.md", folder).follow("From mailtls to another issuer")
    write(installation, serving, as_it_does="taken over")

    def is_theirs(seen: Object | None) -> bool:
        said = condition_of(seen, "Issued")
        return said is not None and "written by cert-manager, is valid until" in said["message"]

    installation.sandbox.wait_for(MAIL_SERVER_TLS, "mx", is_theirs)
    await_served(installation, serving)
    write(installation, following)
    assert "written by cert-manager (Certificate mx-cert" in message(await_served(installation, following))


def cmctl(folder: Path) -> dict[str, str]:
    """A path with the command line of cert-manager, which the test itself stands for."""
    program = folder / "bin" / "cmctl"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n[ "$1 $2" = "renew mx-cert" ]\n', encoding="utf-8")
    program.chmod(0o755)
    return {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}


def as_reloader(sandbox: Sandbox, issued: Issued) -> None:
    """Patch the pod template as Reloader 2.2 was seen to: a variable of the container with a hash of the Secret."""
    variable = {"name": "STAKATER_MX_TLS_SECRET", "value": hashlib.sha1(issued.chain.encode()).hexdigest()}  # noqa: S324
    containers = [{"name": "postfix", "env": [variable]}]
    path = f"/apis/apps/v1/namespaces/{sandbox.name}/statefulsets/postfix"
    sandbox.api.request(
        "PATCH",
        path,
        body={"spec": {"template": {"spec": {"containers": containers}}}},
        kind="application/strategic-merge-patch+json",
        fieldManager="Reloader",
    )


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
    await_told(installation, ("Normal", "SecretAdopted"))
    assert installation.pebble.orders() == 0


def test_tutorial_with_a_ca_of_ones_own_is_followed_to_its_end(installation: Installation, tmp_path: Path) -> None:
    """The steps with kind that are not kind's: a certificate, its renewal, and one for a wrong name."""
    sandbox = installation.sandbox
    reader = page(installation, "kind.md", tmp_path, workload=False)
    reader.follow("A certificate")
    MailServer(sandbox, installation.zone.host("mx1")).deploy()
    installation.start()
    assert "6/6" in reader.follow("The resource")
    pods = restarts(installation)
    served = sandbox.get(MAIL_SERVER_TLS, "mx")["status"]["certificate"]["fingerprintSHA256"]
    reader.follow("The next certificate")
    renewed = sandbox.get(MAIL_SERVER_TLS, "mx")["status"]["certificate"]["fingerprintSHA256"]
    assert renewed != served
    assert "CandidateRefused" in reader.follow("A wrong certificate")
    assert restarts(installation) == pods
    reader.expect_all_followed()
