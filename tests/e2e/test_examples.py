"""Folders of examples/ on the real cluster, as they are but for images, names and the ACME server."""

from __future__ import annotations

import os
import subprocess
import sys
from copy import deepcopy
from typing import TYPE_CHECKING

import pytest
import yaml

from contracts.render import ROOT
from e2e.served import served_fingerprint
from testbed import containers, trees
from testbed.images import POSTFIX
from testbed.layout import NODE_ADDRESS
from testbed.mailserver import is_rolled_out

if TYPE_CHECKING:
    from e2e.installation import Installation
    from testbed.api import Object
    from testbed.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("servers-image")]

PLURALS = {"StatefulSet": "statefulsets.apps", "Deployment": "deployments.apps"}
BY_THE_SERVER = ("--server-side", "--field-manager=mailtls-init")


@pytest.fixture(scope="module")
def haproxy(cluster: Cluster) -> str:
    """The image with haproxy, known to the cluster."""
    containers.import_image(cluster.layout, trees.ensure_image())
    return trees.IMAGE


def objects(installation: Installation, folder: str, image: str = POSTFIX) -> list[Object]:
    """The objects of a folder in the order of its files, each with what a reader replaces."""
    files = sorted((ROOT / "examples" / folder).glob("*.yaml"))
    found = [each for file in files if file.name != "values.yaml" for each in yaml.safe_load_all(file.read_text())]
    return [local(installation, each, image) for each in found]


def local(installation: Installation, manifest: Object, image: str) -> Object:
    """The manifest with the namespace, the images and the names of this test."""
    manifest["metadata"]["namespace"] = installation.sandbox.name
    if manifest["kind"] in PLURALS:
        pod = manifest["spec"]["template"]["spec"] | {"terminationGracePeriodSeconds": 1}
        manifest["spec"]["template"]["spec"] = pod
        for container in pod["containers"]:
            is_proxy = container["name"] == "haproxy"
            container |= {"image": image if is_proxy else POSTFIX, "imagePullPolicy": "IfNotPresent"}
    elif manifest["kind"] == "MailServerTLS":
        names = manifest["spec"]["dnsNames"]
        manifest["spec"]["dnsNames"] = [installation.zone.host(name.partition(".")[0]) for name in names]
    return manifest


def become_ready(installation: Installation, made: list[Object]) -> None:
    """Apply all at once, as a reader does, and wait until the pods run and all is proven; nobody restarts anything."""
    installation.start()
    installation.sandbox.apply(*made)
    for each in made:
        if each["kind"] in PLURALS:
            name = each["metadata"]["name"]
            installation.sandbox.wait_for(PLURALS[each["kind"]], name, is_rolled_out)
    installation.await_ready()
    # A proxy may have started before its kubelet knew the address of the Service.
    pods = installation.sandbox.objects("pods", "app!=haproxy")
    assert {status["restartCount"] for pod in pods for status in pod["status"]["containerStatuses"]} == {0}


def test_postfix_alone_is_ready_by_itself(installation: Installation) -> None:
    """From the two files of the example, the pods start on the placeholder and end with the certificate."""
    become_ready(installation, objects(installation, "postfix"))


def test_postfix_behind_haproxy_is_ready_and_serves_through_it(installation: Installation, haproxy: str) -> None:
    """The pods are proven by a PROXY header of the probe, and clients see the same certificate through haproxy."""
    made = objects(installation, "behind-haproxy", haproxy)
    become_ready(installation, made)
    host = next(each["spec"]["dnsNames"][0] for each in made if each["kind"] == "MailServerTLS")
    for pod in installation.sandbox.objects("pods", "app=haproxy"):
        served = served_fingerprint(pod["status"]["podIP"], 10025, host, installation.pebble.root())
        assert served == installation.fingerprint()


def test_postfix_and_dovecot_are_ready_and_init_prints_what_the_example_has(installation: Installation) -> None:
    """`init` looks at the bare workload first; the API server takes each part as it is printed, as a dry run."""
    sandbox, made = installation.sandbox, objects(installation, "postfix-and-dovecot")
    sandbox.apply(without_certificate(next(each for each in made if each["kind"] == "StatefulSet")))
    before = sandbox.get("statefulsets.apps", "mail")["spec"]
    host = next(each["spec"]["dnsNames"][0] for each in made if each["kind"] == "MailServerTLS")
    manifest, said = init(installation, host, "manifest", "--resolver", NODE_ADDRESS)
    assert "OK   admission" in said, said
    accept(installation, manifest)
    accept(installation, init(installation, host, "pods", "--no-preflight")[0], *BY_THE_SERVER)
    assert sandbox.get("statefulsets.apps", "mail")["spec"] == before
    become_ready(installation, made)
    # What is there now is what `init` would make: nothing is left to add to the pods.
    applied = next(each for each in made if each["kind"] == "MailServerTLS")["spec"]
    printed = yaml.safe_load(init(installation, host, "manifest", "--no-preflight")[0])
    assert printed == yaml.safe_load(manifest)
    assert printed["spec"]["workloads"] == applied["workloads"]
    assert printed["spec"]["secretName"] == applied["secretName"]
    assert yaml.safe_load(init(installation, host, "pods", "--no-preflight")[0]) is None


def without_certificate(workload: Object) -> Object:
    """The workload of somebody who does not know mailtls yet: no Secret is mounted, and no pod runs."""
    bare = deepcopy(workload)
    bare["spec"]["replicas"] = 0
    pod = bare["spec"]["template"]["spec"]
    pod["volumes"] = [each for each in pod["volumes"] if each["name"] != "tls"]
    for container in pod["containers"]:
        container["volumeMounts"] = [each for each in container["volumeMounts"] if each["name"] != "tls"]
    return bare


def init(installation: Installation, host: str, part: str, *options: str) -> tuple[str, str]:
    """What the command prints, and what it says beside that."""
    kubeconfig = installation.sandbox.cluster.layout.kubeconfig
    command = [sys.executable, "-m", "mailtls", "init", "-n", installation.sandbox.name, "--dns-name", host]
    done = subprocess.run(
        [*command, "--show", part, *options],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "operator"), "KUBECONFIG": str(kubeconfig)},
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def accept(installation: Installation, printed: str, *options: str) -> None:
    """Have the API server take a text as it is, strictly and as a dry run."""
    file = installation.folder / "printed.yaml"
    file.write_text(printed, encoding="utf-8")
    installation.sandbox.cluster.kubectl("apply", "--dry-run=server", "--validate=strict", *options, "-f", str(file))
