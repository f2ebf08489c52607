"""The CRD in a real API server: what it takes, what it refuses with which sentence, and what it explains."""

import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from contracts.manifests import CRD_FILE, INVALID, VALID, Json, fields, schema, sentence, stored
from mailtls.api.reading.acme import default_acme
from mailtls.api.reading.spec import Defaults, parse
from mailtls.api.resource import resources_path
from mailtls.issuance.solvers.registry import SOLVERS
from mailtls.kube.client import KubernetesCluster
from mailtls.kube.interface import ApiError, Conflict
from mailtls.kube.login import configure
from testbed.cluster import Cluster
from testbed.console import Trouble

pytestmark = pytest.mark.cluster

INSTALLATION = Defaults(
    SOLVERS, default_acme({"server": "letsencrypt", "solvers": [{"http01": {}}]}, "mailtls", SOLVERS)
)
EXPLAINED = ["", ".spec", ".spec.acme", ".spec.acme.solvers[].dns01.rfc2136", ".spec.workloads[]", ".spec.probe.trust"]
# Kubernetes' own remark where a fault keeps it from looking at the rest.
REMARK = ", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid;"


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    """Install the CRD and make a namespace in which no name is taken."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD_FILE))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=120s", "-f", str(CRD_FILE))
    name = f"schema-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def refusals(cluster: Cluster, namespace: str) -> Mapping[str, str]:
    """Apply all invalid manifests at once; the answers by manifest."""
    with pytest.raises(Trouble) as trouble:
        _try(cluster, namespace, INVALID[0].parent)
    answers = re.split(r"Error from server \(\w+\): error when creating ", str(trouble.value))
    return {Path(path).stem: answer for answer in answers for path in re.findall(r'^"([^"]+)"', answer)}


def _try(cluster: Cluster, namespace: str, manifest: Path) -> str:
    """Ask the API server what it would do with a manifest."""
    return cluster.kubectl(
        "create", "--dry-run=server", "--validate=strict", "-n", namespace, "-o", "json", "-f", str(manifest)
    )


@pytest.mark.parametrize("manifest", VALID, ids=lambda manifest: manifest.stem)
def test_valid_manifest_is_taken_and_means_the_same_afterwards(
    cluster: Cluster, namespace: str, manifest: Path
) -> None:
    """The API server takes the manifest within its cost limits, and what it fills in changes nothing for the parser."""
    resource: Json = json.loads(_try(cluster, namespace, manifest))
    bare = stored(manifest)
    assert parse(resource | {"metadata": bare["metadata"]}, INSTALLATION) == parse(bare, INSTALLATION)


@pytest.mark.parametrize("manifest", INVALID, ids=lambda manifest: manifest.stem)
def test_invalid_manifest_is_refused_in_one_sentence(refusals: Mapping[str, str], manifest: Path) -> None:
    """The refusal names the field, says what to do instead, and says nothing else."""
    field, _, what = sentence(manifest).partition(": ")
    answer = refusals[manifest.stem].partition(" is invalid: ")[2].partition(REMARK)[0].removeprefix("[")
    assert answer.startswith(f"{field}: ")
    assert what in answer
    assert len(re.findall(r"\bspec\.[\w.\[\]]+: ", answer)) == 1


@pytest.mark.parametrize("path", EXPLAINED, ids=lambda path: path or "root")
def test_kubectl_explains_each_field(cluster: Cluster, namespace: str, path: str) -> None:
    """`kubectl explain` shows each field below the object with all that the schema says of it."""
    page = _explained(cluster, path.replace("[]", ""))
    members = dict(fields(schema()))[path]["properties"]
    for name, node in members.items():
        assert re.search(rf"  {name}\t<.*?>", page)
        assert " ".join(node["description"].split()) in " ".join(page.split())


def _explained(cluster: Cluster, path: str) -> str:
    """Read the page; the API server publishes a new schema a moment after it is established."""
    for _ in range(600):
        try:
            return cluster.kubectl("explain", f"mst{path}")
        except Trouble:
            time.sleep(0.2)
    return cluster.kubectl("explain", f"mst{path}")


def test_report_reaches_the_very_resource_that_it_is_on(cluster: Cluster, namespace: str) -> None:
    """The status subresource takes no uid from a merge patch, so a namesake is kept apart by a patch that tests it."""
    adapter = KubernetesCluster(partial(configure, None, str(cluster.layout.kubeconfig)))
    made = adapter.create(resources_path(namespace), stored(VALID[0]) | {"metadata": {"name": "mx"}})
    path, uid = f"{resources_path(namespace)}/mx", made["metadata"]["uid"]
    first = {"observedGeneration": 1, "served": "1/2"}
    with pytest.raises(Conflict):
        adapter.report(path, "of-the-one-before", {}, first)
    adapter.report(path, uid, {}, first)
    adapter.report(path, uid, first, {"observedGeneration": 2, "endpointsTotal": 2})
    with pytest.raises(Conflict):
        adapter.report(path, uid, first, {"observedGeneration": 3})  # written from what is not there any more
    with pytest.raises(ApiError, match="observedGeneration"):
        adapter.report(path, uid, first, {"observedGeneration": "none", "served": "1/2"})
    found = adapter.get(path)
    assert found is not None
    assert found["status"] == {"observedGeneration": 2, "endpointsTotal": 2}
