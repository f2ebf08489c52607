"""`mailtls bundle` as a program, against an API server whose every corner holds a secret."""

import json
import tarfile
from base64 import b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from builders import kube
from builders.authority import Authority
from builders.resources import resource
from functional.cli import Reply, api_server

TSIG = "q2Hy1bT7s0dZk3v9QeXr5A8uJwLmNcPfGhYtBzKiVxE="
PASSWORD = "correct-horse"  # made of words, so that only the Secret that holds it gives it away
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.q2Hy1bT7s0dZk3v9QeXr5A8uJwLmNcPfGhYtBzKiVxE"
ISSUED = Authority().issue("mx1.example.com")
MANIFEST = json.dumps({"kind": "Secret", "data": {"tls.key": b64encode(ISSUED.key.encode()).decode()}})
SAID = f"key {ISSUED.key} tsig {TSIG} {b64encode(TSIG.encode()).decode()} Bearer {TOKEN} password {PASSWORD}"
NOTES = {"kubectl.kubernetes.io/last-applied-configuration": MANIFEST, "mailtls.dev/approve": SAID, "note": SAID}
OUR_LABELS = {"app.kubernetes.io/managed-by": "mailtls", "mailtls.dev/owner": "mx"}
OPERATOR = {"app.kubernetes.io/name": "mailtls", "app.kubernetes.io/component": "operator"}


def secret(name: str, **data: str) -> dict[str, Any]:
    """A Secret of ours, as the API server shows it."""
    encoded = {entry.replace("_", "."): b64encode(value.encode()).decode() for entry, value in data.items()}
    metadata = {"name": name, "namespace": "mail", "labels": OUR_LABELS, "annotations": NOTES}
    return {"metadata": metadata, "type": "kubernetes.io/tls", "data": encoded}


def pod(name: str, namespace: str = "mail", labels: dict[str, str] | None = None) -> dict[str, Any]:
    """A pod that holds secrets in its variables, arguments, annotations and last words."""
    spec = kube.pod_spec(name="operator")
    variables = [{"name": "TSIG", "value": TSIG}, {"name": "MAILTLS_OF_NOBODY", "value": SAID}]
    spec["containers"][0] |= {"env": variables, "args": [SAID], "command": [SAID]}
    made = kube.pod(name, spec=spec, namespace=namespace, labels=labels or {"app": "postfix"}, annotations=NOTES)
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": SAID}}
    made["status"]["message"] = SAID
    made["status"]["containerStatuses"] = [{"name": "operator", "restartCount": 3, "lastState": ended}]
    return made


def mail_server() -> dict[str, Any]:
    """The resource, with secrets in its spec and status, as far as the schema lets them in."""
    made = resource("Issued")
    made["metadata"]["annotations"] = NOTES
    made["spec"] |= {
        "secretName": "mx-tls",
        "workloads": [{"kind": "StatefulSet", "name": "postfix", "daemons": [{"reload": {"command": [SAID]}}]}],
        "acme": {"server": f"https://me:{PASSWORD}@acme.example.com/directory", "caBundle": ISSUED.key},
    }
    made["status"]["conditions"][0]["message"] = SAID
    made["status"]["certificate"]["fingerprintSHA256"] = ISSUED.sha256
    return made


def event(name: str) -> dict[str, Any]:
    """A warning with secrets in its message."""
    about = {"kind": "MailServerTLS", "namespace": "mail", "name": "mx", "uid": "1"}
    return {"metadata": {"name": name}, "type": "Warning", "reason": "Failed", "message": SAID, "involvedObject": about}


def deployment() -> dict[str, Any]:
    """The operator's."""
    made = kube.workload(spec=pod("x")["spec"] | {"serviceAccountName": "mailtls"})
    made["metadata"] |= {"name": "mailtls", "namespace": "system", "labels": OPERATOR, "annotations": NOTES}
    return made


LOG = "".join(f"{each}\n" for each in (SAID, json.dumps({"event": SAID}), "the resource mail/mx was probed"))
WORKLOAD = kube.workload(template={"labels": {"app": "postfix"}, "annotations": NOTES})
WORKLOAD["metadata"]["annotations"] = NOTES
WORLD: dict[str, Any] = {
    "/version": {"gitVersion": "v1.36.0"},
    "/apis/mailtls.dev/v1alpha1/namespaces/mail/mailservertls": [mail_server()],
    "/apis/apps/v1/namespaces/mail/statefulsets/postfix": WORKLOAD
    | {"metadata": {"name": "postfix", "annotations": NOTES}},
    "/api/v1/namespaces/mail/pods": [pod("postfix-1"), pod("postfix-0")],
    "/api/v1/namespaces/mail/events": [event("b"), event("a")],
    "/api/v1/namespaces/mail/secrets": [
        secret("mx-tls", tls_crt=ISSUED.chain, tls_key=ISSUED.key, password=PASSWORD),
        secret("tsig", secret=TSIG),
    ],
    "/apis/apps/v1/deployments": [deployment()],
    "/api/v1/namespaces/system/pods": [pod("mailtls-0", "system", OPERATOR)],
    "/api/v1/namespaces/system/pods/mailtls-0/log": LOG,
    "/api/v1/namespaces/system/pods/mailtls-0:8080/proxy/metrics": f'mailtls_leader{{by="{TSIG}"}} 1\n# {SAID}\n',
    "/apis/coordination.k8s.io/v1/namespaces/system/leases/mailtls": {
        "metadata": {"name": "mailtls", "annotations": NOTES},
        "spec": {"holderIdentity": "mailtls-0"},
    },
    "/apis/rbac.authorization.k8s.io/v1/clusterroles": [
        {"metadata": {"name": "mailtls", "annotations": NOTES}, "rules": [{"verbs": ["get"], "resources": ["secrets"]}]}
    ],
}


def world(path: str) -> Reply:
    """What the API server answers."""
    found = WORLD.get(urlsplit(path).path)
    if found is None:
        return 404, {"message": f"there is no {path.partition('?')[0]}"}
    return 200, {"metadata": {}, "kind": "AnyList", "items": found} if isinstance(found, list) else found


def taken(folder: Path, reply: Callable[[str], Reply], *arguments: str) -> tuple[dict[str, str], str, set[str]]:
    """Take a bundle: its files, what was said, and the methods of all requests."""
    with api_server(folder, reply) as api:
        file = folder / "bundle.tar.gz"
        done = api.run("bundle", "--output", str(file), *arguments)
        assert done.returncode == 0, done
        assert "Traceback" not in done.stderr, done
        assert file.stat().st_mode & 0o777 == 0o600
        return unpacked(file), done.stderr, api.methods


def unpacked(file: Path) -> dict[str, str]:
    """The files by name, without the folder that holds all of them."""
    with tarfile.open(file) as archive:
        members = archive.getmembers()
        assert [each.name for each in members] == sorted(each.name for each in members)
        opened = {each.name.partition("/")[2]: archive.extractfile(each) for each in members}
        return {name: stream.read().decode() for name, stream in opened.items() if stream is not None}


def forms(text: str) -> set[str]:
    """All that must not be there: pieces of the secret as it is, without line breaks, and in base64."""
    whole = ["".join(line for line in text.split("\n") if "---" not in line), b64encode(text.encode()).decode()]
    return {form[at : at + 18] for form in whole for at in range(max(1, len(form) - 17))} | {text.strip()}


def test_bundle_holds_what_support_needs_and_no_secret(tmp_path: Path) -> None:
    """Keys, TSIG secrets, tokens and passwords stand in all places that a tenant or an attacker can write to."""
    files, said, methods = taken(tmp_path, world, "--timeout", "600")
    assert methods == {"GET"}
    everything = "\n".join([*files, *files.values(), said])
    for each in (ISSUED.key, TSIG, PASSWORD, TOKEN):
        assert not [form for form in forms(each) if form in everything], each
    assert "last-applied-configuration" not in everything.replace(
        '"kubectl.kubernetes.io/last-applied-configuration"', ""
    )
    place = "namespaces/mail/mx"
    (shown,) = [each for each in json.loads(files[f"{place}/secrets.json"]) if each["metadata"]["name"] == "mx-tls"]
    assert shown["certificate"]["names"] == ["mx1.example.com"]
    assert shown["certificate"]["sha256"] == ISSUED.sha256
    assert set(shown["bytesOfEntries"]) == {"tls.crt", "tls.key", "password"}
    assert json.loads(files[f"{place}/resource.json"])["status"]["certificate"]["fingerprintSHA256"] == ISSUED.sha256
    pods = json.loads(files[f"{place}/pods.json"])
    assert [each["metadata"]["name"] for each in pods] == ["postfix-0", "postfix-1"]
    assert pods[0]["status"]["containers"][0]["lastState"]["terminated"] == {"exitCode": 1, "reason": "Error"}
    assert pods[0]["spec"]["containers"][0]["mounts"][1]["mountPath"] == "/etc/tls"
    assert "mx1.example.com" in files[f"{place}/status.txt"]
    assert "a support bundle only reads" in files[f"{place}/preflight.txt"], files["missing.txt"]
    operator = "operator/system/mailtls"
    assert "the resource mail/mx was probed" in files[f"{operator}/mailtls-0.log.txt"]
    assert "the resource mail/mx was probed" in files[f"{operator}/mailtls-0.log-before.txt"]
    assert "mailtls_leader" in files[f"{operator}/mailtls-0.metrics.txt"]
    assert json.loads(files[f"{operator}/lease.json"])["spec"]["holderIdentity"] == "mailtls-0"
    assert json.loads(files["versions.json"])["kubernetes"]["gitVersion"] == "v1.36.0"
    assert "  namespaces/mail/mx/pods.json\n" in files["README.txt"]
    assert yaml.safe_load(files[f"{operator}/deployment.json"])["settings"]["operator"]["env"][0] == {"name": "TSIG"}


def test_what_cannot_be_read_is_listed_with_the_reason(tmp_path: Path) -> None:
    """Forbidden, missing, broken and silent parts: the rest is there, and the whole ends in time."""

    def reply(path: str) -> Reply:
        if "/secrets" in path:
            return 403, {"message": "secrets is forbidden: User me cannot list them", "reason": "Forbidden"}
        if path.startswith("/apis/apps/v1/namespaces/mail/"):
            return 500, {"message": "etcd is away", "reason": "InternalError"}
        if "/log" in path or "/events" in path:
            return None
        if "/proxy/" in path:
            return 200, "x" * 5_000_000
        return world(path) if "customresource" not in path else (200, "no JSON")

    begun = datetime.now().astimezone()
    files, said, _methods = taken(tmp_path, reply, "--timeout", "12", "--no-preflight", "mx")
    assert datetime.now().astimezone() - begun < timedelta(seconds=60)
    missing = files["missing.txt"]
    assert "MailServerTLS mail/mx: it does not exist" in missing
    assert "things are not in it" in said
    files, _said, _methods = taken(tmp_path / "all", reply, "--timeout", "12", "--no-preflight")
    missing = files["missing.txt"]
    for words in (
        "our Secrets in namespace mail: you may not read it (secrets is forbidden",
        "StatefulSet/postfix in namespace mail: The API server answered 500 InternalError: etcd is away",
        "the events in namespace mail: ",
        "the CRD: ",
    ):
        assert words in missing, missing
    assert json.loads(files["namespaces/mail/mx/resource.json"])["metadata"]["name"] == "mx"


def test_same_cluster_gives_the_same_bundle(tmp_path: Path) -> None:
    """But for the time that it was taken."""
    read = []
    for folder in (tmp_path / "1", tmp_path / "2"):
        files, _said, _methods = taken(folder, world, "--no-preflight")
        del files["README.txt"]
        read.append(files)
    assert read[0] == read[1]


@pytest.mark.parametrize("arguments", [("mx", "-A"), ("--output", "{there}")])
def test_nothing_is_overwritten_and_nonsense_is_said(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """One sentence, and exit code 2."""
    (tmp_path / "there").write_text("precious")
    with api_server(tmp_path, world) as api:
        done = api.run("bundle", *(each.format(there=tmp_path / "there") for each in arguments))
        assert (done.returncode, api.requests) == (2, [])
    assert (tmp_path / "there").read_text() == "precious"


def test_cluster_that_does_not_answer_gives_no_bundle(tmp_path: Path) -> None:
    """Exit code 3, and nothing on standard output."""
    with api_server(tmp_path, lambda _path: (503, {"message": "away"})) as api:
        done = api.run("bundle", "--output", "-", "--timeout", "5")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "The API server answered 503 Unknown: away\n"
