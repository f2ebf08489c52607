"""Images that copy their certificate, poll its files and reload by themselves: stand-ins that do it as these do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from contracts.snippets import objects, page_text
from testbed import containers, trees
from testbed.images import POSTFIX
from testbed.mailserver import MailServer
from testbed.sandbox import MAIL_SERVER_TLS

if TYPE_CHECKING:
    from e2e.installation import Installation
    from testbed.api import Object
    from testbed.cluster import Cluster
    from testbed.sandbox import Sandbox

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("servers-image")]

RESTART = {"RESTART_TAKES": "12"}
"""Seconds; what is reloaded must serve the new certificate after ten."""
SHELLS = {".sh": "bash", ".py": "python3"}
STANDINS = Path(__file__).with_name("standins")
BANNED_FOR = ("reject:", "improper command pipelining", "too many errors", "authentication failed")
"""What fail2ban's filters of docker-mailserver (`postfix` with mode extra, `dovecot`) count against an address."""


@pytest.fixture(scope="module")
def servers(cluster: Cluster) -> str:
    """The image with Dovecot, known to the cluster."""
    containers.import_image(cluster.layout, trees.ensure_image())
    return trees.IMAGE


def deploy(installation: Installation, server: MailServer, pod: Object, container: Object, **files: str) -> None:
    """Run a stand-in as the workload that the image's chart makes; the Secret is there already."""
    sandbox, name = installation.sandbox, server.name
    (script,) = STANDINS.glob(f"{name}.*")
    data = {script.name: script.read_text(encoding="utf-8"), **files}
    sandbox.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
    manifest = server.workload()
    spec = manifest["spec"]["template"]["spec"]
    (made,) = spec["containers"]
    made |= {"command": [SHELLS[script.suffix], f"/standin/{script.name}"], **container}
    made["volumeMounts"] = [*container["volumeMounts"], {"name": "standin", "mountPath": "/standin"}]
    spec["volumes"] = [*pod["volumes"], {"name": "standin", "configMap": {"name": name}}]
    sandbox.apply(manifest)
    server.wait_until_ready()


def standin(installation: Installation, name: str, image: str = POSTFIX, kind: str = "Deployment") -> MailServer:
    """The workload of a stand-in: one pod."""
    host = installation.zone.host("mail")
    return MailServer(installation.sandbox, host, kind=kind, name=name, image=image, replicas=1, secret=None)


def documented(installation: Installation, page: str, number: int = 0) -> Object:
    """A resource of a page, with the names of this test."""
    found: Object = [
        each for place, each in objects() if place.startswith(f"{page}:") and each["kind"] == "MailServerTLS"
    ][number]
    spec: dict[str, Any] = found["spec"]
    spec["dnsNames"] = [installation.zone.host("mail")]
    found["metadata"].pop("namespace", None)
    return found


def runs(sandbox: Sandbox, name: str) -> list[tuple[str, int]]:
    """The pods, and how often their container was started again."""
    pods = sandbox.objects("pods", f"app={name}")
    return [(pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"]) for pod in pods]


def renewed_by_the_image_itself(
    installation: Installation, name: str, resource: Object, *, is_woken: bool = False
) -> None:
    """From the first certificate to the next: every port proves it, and no pod was replaced.

    `is_woken` where the kubelet is to bring the new files at once.
    """
    sandbox, key = installation.sandbox, resource["metadata"]["name"]
    before = runs(sandbox, name)
    installation.await_ready(key)
    secret = resource["spec"]["secretName"]
    first = installation.fingerprint(secret)
    installation.renew("again", key)
    if is_woken:
        installation.wake_pods(name, secret, first)
    seen = installation.await_renewed("again", key)
    assert installation.fingerprint(secret) != first
    served = {each["servedFingerprintSHA256"] for each in seen["status"]["endpoints"]}
    assert served == {installation.fingerprint(secret)}
    assert runs(sandbox, name) == before


def apply_first(installation: Installation, resource: Object) -> None:
    """Have the Secret before the image starts, as these images do not start without."""
    installation.start()
    installation.sandbox.apply(resource)
    secret = resource["spec"]["secretName"]
    installation.sandbox.wait_for("secrets", secret, lambda seen: seen is not None)


def test_docker_mailserver_takes_the_certificate_by_its_own_changedetector(installation: Installation) -> None:
    """It copies and reloads by itself; postscreen makes the probe wait, and nothing in the log would have it banned."""
    resource = documented(installation, "docker-mailserver.md")
    (workload,) = resource["spec"]["workloads"]
    workload["name"] = "docker-mailserver"
    workload["daemons"] = [
        each | {"container": "postfix"} for each in workload["daemons"] if each["preset"] == "postfix"
    ]
    apply_first(installation, resource)
    mounted = "/tmp/dms/custom-certs"
    env = {"SSL_CERT_PATH": f"{mounted}/tls.crt", "SSL_KEY_PATH": f"{mounted}/tls.key"}
    container = {
        "env": [{"name": name, "value": value} for name, value in (env | host_of(installation)).items()],
        "volumeMounts": [{"name": "certificate", "mountPath": mounted, "readOnly": True}],
    }
    volume = {"name": "certificate", "secret": {"secretName": resource["spec"]["secretName"]}}
    deploy(installation, standin(installation, "docker-mailserver"), {"volumes": [volume]}, container)
    renewed_by_the_image_itself(installation, "docker-mailserver", resource, is_woken=True)
    sandbox = installation.sandbox
    sandbox.annotate(MAIL_SERVER_TLS, "mail", mailtls_dev__probe="deep-1")
    sandbox.wait_for(MAIL_SERVER_TLS, "mail", lambda seen: bool(seen and seen["status"].get("deepProbeTime")))
    (pod,) = sandbox.objects("pods", "app=docker-mailserver")
    log = sandbox.logs(pod["metadata"]["name"])
    assert [line for line in log.splitlines() if any(words in line for words in BANNED_FOR)] == []


def test_mailu_takes_the_certificate_by_its_own_certwatcher(installation: Installation, servers: str) -> None:
    """The chart renames the Secret's entries in the volume; the front notices other files and reloads."""
    resource = documented(installation, "mailu.md")
    resource["spec"]["workloads"] = [
        {
            **each,
            "name": "mailu-front",
            "ports": [port for port in each["ports"] if port["protocol"] in {"imap", "pop3"}],
        }
        for each in resource["spec"]["workloads"]
    ]
    apply_first(installation, resource)
    items = [{"key": "tls.crt", "path": "cert.pem"}, {"key": "tls.key", "path": "key.pem"}]
    volume = {"name": "certs", "secret": {"secretName": resource["spec"]["secretName"], "items": items}}
    container = {
        "volumeMounts": [{"name": "certs", "mountPath": "/certs"}],
        "ports": [],
        "readinessProbe": {"tcpSocket": {"port": 993}, "periodSeconds": 1},
    }
    deploy(installation, standin(installation, "mailu-front", servers), {"volumes": [volume]}, container)
    renewed_by_the_image_itself(installation, "mailu-front", resource, is_woken=True)


def test_zimbra_takes_the_certificate_by_the_script_of_its_page(installation: Installation) -> None:
    """It is away for longer than a reload may take, and is waited for."""
    resource = documented(installation, "zimbra.md")
    (workload,) = resource["spec"]["workloads"]
    workload["ports"] = [port for port in workload["ports"] if port["protocol"] == "smtp"]
    apply_first(installation, resource)
    container = {
        "env": [{"name": name, "value": value} for name, value in (host_of(installation) | RESTART).items()],
        "volumeMounts": [{"name": "certs", "mountPath": "/certs"}],
    }
    volume = {"name": "certs", "secret": {"secretName": resource["spec"]["secretName"]}}
    text = page_text("zimbra.md")
    script = text.partition("```sh\n")[2].partition("```")[0]
    deploy(
        installation,
        standin(installation, "zimbra"),
        {"volumes": [volume]},
        container,
        **{"deploy-certificate": script},
    )
    renewed_by_the_image_itself(installation, "zimbra", resource)


def test_stalwart_takes_the_certificate_by_the_call_of_its_page(installation: Installation) -> None:
    """The command of the page, by the image's curl; every port of the page serves what was read by it."""
    sandbox = installation.sandbox
    resource = documented(installation, "stalwart.md", 1)
    apply_first(installation, resource)
    sandbox.put_secret("stalwart-reload", {"login": b"reloader:secret\n"})
    containers.import_image(sandbox.cluster.layout, trees.ensure_lean_image(trees.TOOLS))
    mounted = {"tls": resource["spec"]["secretName"], "reload": "stalwart-reload"}
    pod = {"volumes": [{"name": name, "secret": {"secretName": secret}} for name, secret in mounted.items()]}
    mounts = [{"name": name, "mountPath": f"/etc/stalwart-{name}", "readOnly": True} for name in mounted]
    container: Object = {"name": "stalwart", "volumeMounts": mounts, "ports": []}
    trees.run_from(trees.TOOLS, pod, container)
    deploy(installation, standin(installation, "stalwart", kind="StatefulSet"), pod, container)
    renewed_by_the_image_itself(installation, "stalwart", resource)


def host_of(installation: Installation) -> dict[str, str]:
    """The variable by which the image of the tests knows its name."""
    return {"TLS_NAME": installation.zone.host("mail")}
