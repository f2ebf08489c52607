"""The command line against a real cluster: preflight before apply, status, renewal awaited."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest
import yaml

from e2e.charted import install, values_for
from e2e.installation import SECRET
from e2e.person import as_person, mailtls
from testbed.layout import NODE_ADDRESS, project_folder
from testbed.mailserver import MailServer

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.installation import Installation
    from testbed.api import Object
    from testbed.pebble import Pebble

pytestmark = pytest.mark.cluster


def preflight(installation: Installation, *arguments: str, given: Object) -> subprocess.CompletedProcess[str]:
    """Look before apply; whatever operators other tests have in the cluster at this time are nobody's here."""
    own = ("--operator-namespace", installation.sandbox.name)
    return mailtls(installation, "preflight", "-", *own, *arguments, given=yaml.safe_dump(given))


def manifest(installation: Installation, workload: str, **spec: object) -> Object:
    """A resource that says all by itself, as preflight finds no Deployment of the operator here."""
    acme = {"server": installation.pebble.directory_url, "solvers": installation.solvers}
    return {
        "apiVersion": "mailtls.dev/v1alpha1",
        "kind": "MailServerTLS",
        "metadata": {"name": "mx"},
        "spec": {
            "dnsNames": [installation.zone.host("mx")],
            "secretName": SECRET,
            "acme": acme,
            "workloads": [{"kind": "StatefulSet", "name": workload}],
            **spec,
        },
    }


def test_preflight_says_before_apply_what_would_go_wrong(installation: Installation) -> None:
    """The dry run and the signed update of a real BIND are well; the missing workload is not, and nothing is made."""
    given = manifest(installation, "nowhere")
    done = preflight(installation, "--write-test", "--resolver", NODE_ADDRESS, given=given)
    assert done.returncode == 1, done
    for words in (
        "OK   admission  The API server would take it.",
        f"OK   dns-01     {installation.zone.server} takes updates of zone {installation.zone.name}",
        "was added and removed again.",
        f"OK   secret     Secret {SECRET} does not exist yet",
        "WorkloadNotFound",
    ):
        assert words in done.stdout, done
    assert installation.sandbox.find("secrets", SECRET) is None
    assert installation.pebble.orders() == 0


def test_preflight_finds_the_services_that_lead_to_the_pods(installation: Installation) -> None:
    """What the probe would be told, before there is anything to probe."""
    postfix = MailServer(installation.sandbox, installation.zone.host("mx"), replicas=1).deploy()
    given = manifest(installation, postfix.name, probe={"from": ["Pods", "Service"]})
    assert (
        "OK   service    StatefulSet/postfix is probed by Service postfix."
        in preflight(installation, given=given).stdout
    )
    installation.sandbox.delete("services", postfix.name)
    assert "FAIL service    No Service in namespace" in preflight(installation, given=given).stdout


def test_preflight_names_what_admission_refuses_and_a_wrong_key(installation: Installation) -> None:
    """The schema's own sentences, and the DNS server's."""
    done = preflight(installation, given=manifest(installation, "x", surprise=1))
    assert done.returncode == 1, done
    assert "FAIL admission" in done.stdout
    installation.sandbox.put_secret("tsig", {"secret": b"d3Jvbmc="})
    done = preflight(installation, given=manifest(installation, "x"))
    assert "FAIL dns-01" in done.stdout, done
    assert "DnsUpdateRefused" in done.stdout


def test_renewal_is_awaited_and_status_tells_the_story(installation: Installation) -> None:
    """From not ready to renewed, by exit codes and words alone."""
    postfix = MailServer(installation.sandbox, installation.zone.host("mx")).deploy()
    installation.apply(workloads=[{"kind": "StatefulSet", "name": postfix.name}])
    assert mailtls(installation, "status").returncode == 1
    installation.start()
    installation.await_ready()
    first = installation.fingerprint()
    listed = mailtls(installation, "status")
    assert listed.returncode == 0, listed
    assert "mx     True    Ready" in listed.stdout

    renewed = mailtls(installation, "renew", "mx", "--wait", "--timeout", "240")
    assert renewed.returncode == 0, renewed
    assert "every probed port serves the certificate" in renewed.stdout
    assert installation.fingerprint() != first

    assert "deepProbeTime" not in installation.get()["status"]
    probed = mailtls(installation, "probe-now", "mx", "--deep", "--wait", "--timeout", "240")
    assert probed.returncode == 0, probed
    assert installation.get()["status"]["deepProbeTime"]
    assert installation.get()["status"]["lastHandledProbe"] in probed.stdout

    back = mailtls(installation, "rollback", "mx", "--wait", "--timeout", "240")
    assert back.returncode == 0, back
    assert "every probed port serves the certificate" in back.stdout
    assert installation.fingerprint() == first
    story = mailtls(installation, "status", "mx")
    assert story.returncode == 0
    for words in ("+ Verified", "postfix-0", "465", "History", "RolledBack"):
        assert words in story.stdout, story


def test_rollback_without_a_certificate_before_is_refused(installation: Installation) -> None:
    """The first certificate has nothing behind it: exit code 1 and the reason, and it goes on serving."""
    installation.apply()
    installation.start()
    installation.await_ready()
    first = installation.fingerprint()
    refused = mailtls(installation, "rollback", "mx", "--wait", "--timeout", "240")
    assert refused.returncode == 1, refused
    assert "RollbackRefused" in refused.stdout
    assert installation.fingerprint() == first


@pytest.mark.usefixtures("operator_image")
def test_preflight_asks_what_the_charts_operator_may(
    installation: Installation, shared_pebble: Pebble, email: str, tmp_path: Path
) -> None:
    """What the chart grants is enough; a verb that is taken from its Role is named, and nothing else."""
    sandbox = installation.sandbox
    install(sandbox, values_for(sandbox, installation.zone, shared_pebble, email), tmp_path)
    given = manifest(installation, "nowhere")
    user = f"system:serviceaccount:{sandbox.name}:mailtls"
    assert f"OK rights {user} may do all that it needs in namespace {sandbox.name}." in _told(installation, given)

    _take_a_bundle(installation, tmp_path / "bundle.tar.gz")
    rules = sandbox.get("roles.rbac.authorization.k8s.io", "mailtls")["rules"]
    less = [{**rule, "verbs": [verb for verb in rule["verbs"] if "pods" not in rule["resources"]]} for rule in rules]
    sandbox.patch("roles.rbac.authorization.k8s.io", "mailtls", {"rules": [rule for rule in less if rule["verbs"]]})
    told = _told(installation, given)
    assert "FAIL rights" in told
    assert f"{user} may not list pods, get pods, patch pods in namespace {sandbox.name}" in told, told


def _take_a_bundle(installation: Installation, file: Path) -> None:
    """All of it is read from a real API server: Lease, roles, and the log and the metrics of a pod."""
    own = ("--operator-namespace", installation.sandbox.name)
    done = mailtls(installation, "bundle", "--output", str(file), "--no-preflight", *own)
    assert done.returncode == 0, done
    with tarfile.open(file) as archive:
        opened = {each.name.partition("/")[2]: archive.extractfile(each) for each in archive.getmembers()}
        read = {name: stream.read().decode() for name, stream in opened.items() if stream is not None}
    found = {name.rpartition("/")[2].partition(".")[2] or name for name in read if "/mailtls-" in name}
    assert found >= {"log.txt", "metrics.txt"}, (sorted(read), read["missing.txt"])
    (rights,) = (json.loads(text) for name, text in read.items() if name.endswith("rights.json"))
    assert {"Role", "RoleBinding"} <= {each["kind"] for each in rights}
    tsig = installation.sandbox.secret("tsig")["secret"].decode()
    assert not [name for name, text in read.items() if tsig in text]


def test_preflight_with_few_rights_looks_at_what_it_may(installation: Installation) -> None:
    """A person of one namespace who may read its workloads, and nothing else: `????` for the rest, and what to do."""
    postfix = MailServer(installation.sandbox, installation.zone.host("mx"), replicas=1).deploy()
    config = _person(
        installation, {"apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["get"]}, _may_list("pods")
    )
    given = yaml.safe_dump(manifest(installation, postfix.name))
    done = as_person(config, installation, "preflight", "-", "--resolver", NODE_ADDRESS, given=given)
    told = " ".join(done.stdout.split())
    assert done.returncode == 3, done
    assert done.stderr == ""
    for words in (
        "???? operator You may not look for the operator in all namespaces: name the one where it runs with",
        "with --operator-namespace, or leave the cluster out with --offline",
        "???? admission You may not apply it",
        "OK spec The operator can read it",
        "???? limits Whether a certificate is there already cannot be seen",
        "???? dns-01 The Secret for dns01.rfc2136 at",
        "???? secret Whether another resource keeps it cannot be seen",
        f"OK workload StatefulSet/{postfix.name} reads Secret {SECRET}; 1 pods",
        "???? rights The operator could not be looked for",
    ):
        assert words in told, done.stdout

    own = ("--operator-namespace", installation.sandbox.name)
    done = as_person(config, installation, "preflight", "-", "--resolver", NODE_ADDRESS, *own, given=given)
    assert f"You may not look for the operator in namespace {installation.sandbox.name}" in " ".join(
        done.stdout.split()
    )


def _may_list(resource: str) -> Object:
    return {"apiGroups": [""], "resources": [resource], "verbs": ["list"]}


def _person(installation: Installation, *rules: Object) -> Path:
    """Write the kubeconfig of a service account whose Role has these rules alone."""
    sandbox, name = installation.sandbox, "person"
    sandbox.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": name},
            "rules": list(rules),
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": sandbox.name}],
        },
    )
    wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    path = f"/api/v1/namespaces/{sandbox.name}/serviceaccounts/{name}/token"
    token = sandbox.api.request("POST", path, body=wanted)["status"]["token"]
    config = yaml.safe_load(sandbox.cluster.layout.kubeconfig.read_text("utf-8"))
    config["users"][0]["user"] = {"token": token}
    file = installation.folder / "person.kubeconfig"
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file


def _told(installation: Installation, given: Object) -> str:
    """What preflight says, in one line; there may be more, about what is not there."""
    return " ".join(preflight(installation, "--resolver", NODE_ADDRESS, given=given).stdout.split())


def test_resource_that_is_not_there_is_named(installation: Installation) -> None:
    """Exit code 2 and one sentence; 3 where the cluster is away."""
    done = mailtls(installation, "renew", "nobody")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "There is no MailServerTLS nobody" in done.stderr
    (installation.folder / "kubeconfig").write_text("nothing")
    command = [sys.executable, "-m", "mailtls", "status", "--kubeconfig", str(installation.folder / "kubeconfig")]
    environment = {**os.environ, "PYTHONPATH": str(project_folder() / "operator")}
    away = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)
    assert (away.returncode, away.stderr.count("\n")) == (3, 1)
