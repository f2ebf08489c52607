"""`make demo` to its end: on the embedded cluster, and on the same one as if it were a user's."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import yaml

from testbed import containers, images
from testbed.layout import project_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.api import Api
    from testbed.cluster import Cluster
    from testbed.zones import NameServer

# The embedded demo upgrades one release for all: two at a time would take it from each other.
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.usefixtures("crd", "operator_image", "host_network"),
    pytest.mark.xdist_group("demo"),
]

WITHIN = 600.0  # of 900 for a test; a quiet machine takes 50
CONTEXT = "a-users"
Environment = dict[str, str]


@pytest.fixture
def environment(cluster: Cluster, tmp_path: Path) -> Environment:
    """Give what a user's shell has: a kubeconfig of several contexts, of which another one is current."""
    config = yaml.safe_load(cluster.layout.kubeconfig.read_text(encoding="utf-8"))
    config["contexts"][0]["name"] = CONTEXT
    nowhere = {"server": "https://127.0.0.1:1"}
    config["clusters"].append({"name": "nowhere", "cluster": nowhere})
    config["contexts"].append({"name": "current", "context": {"cluster": "nowhere", "user": "testbed"}})
    config["current-context"] = "current"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(yaml.safe_dump(config), encoding="utf-8")
    path = f"{cluster.layout.bin}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "KUBECONFIG": str(kubeconfig), "PATH": path, "PYTHONPATH": "operator:tests", "COLUMNS": "120"}


@pytest.fixture
def cluster_dns(api: Api, names: NameServer) -> Iterator[None]:
    """Publish every Service by its name, as the CoreDNS of a user's cluster does."""
    ended = threading.Event()

    def publish() -> None:
        published: set[tuple[str, str]] = set()
        while not ended.wait(0.2):
            for service in api.request("GET", "/api/v1/services")["items"]:
                found = (service["metadata"]["namespace"], service["metadata"]["name"])
                if found[0].startswith("demo-") and found not in published:
                    names.publish_service(*found, service["spec"]["clusterIP"])
                    published.add(found)

    thread = threading.Thread(target=publish)
    thread.start()
    yield
    ended.set()
    thread.join()


def test_demo_on_the_embedded_cluster_runs_to_its_end(api: Api, cluster: Cluster, environment: Environment) -> None:
    """Issued, seen by a client, renewed under traffic, a bad one rolled back, and the broken mount is named."""
    told = tell(environment)
    expect_the_whole_story(told)
    namespace = told.stdout.partition("get mst -n ")[2].partition("'")[0]
    cluster.helm("uninstall", "mailtls", "--namespace=mailtls")
    api.request("DELETE", f"/api/v1/namespaces/{namespace}")


@pytest.mark.usefixtures("cluster_dns")
def test_demo_on_a_users_cluster_runs_to_its_end_and_its_clean_up_leaves_nothing(
    api: Api, cluster: Cluster, environment: Environment
) -> None:
    """The same story by nothing but a context, the images and HTTP-01; then the lines it prints last are run."""
    containers.import_image(cluster.layout, images.ensure_pebble())
    told = tell(environment, f"--context={CONTEXT}")
    expect_the_whole_story(told)
    lines = [line.strip() for line in told.stdout.partition("Clean up:")[2].splitlines() if line.strip()]
    assert len(lines) == 3, "the CustomResourceDefinition was there before: it is not the demo's to delete"
    for line in lines:
        subprocess.run(shlex.split(line), check=True, env=environment, timeout=240)
    namespace = lines[-1].split()[-1]
    assert namespace.startswith("demo-")
    assert api.find(f"/api/v1/namespaces/{namespace}") is None


def test_demo_on_a_cluster_without_the_images_stops_with_one_sentence_and_leaves_nothing(
    api: Api, environment: Environment
) -> None:
    """A registry that does not exist: the image is named, and the namespace goes."""
    told = tell(environment, f"--context={CONTEXT}", "--images=registry.invalid/mail")
    assert told.returncode == 1
    sentence = "the cluster cannot pull registry.invalid/mail/pebble:1: push it there, or run without IMAGES to have it"
    assert told.stdout == f"demo: {sentence} built\n"
    assert not namespaces(api) & namespaces_that_want(api, "registry.invalid/mail")


def test_demo_on_an_unknown_context_stops_with_one_sentence(environment: Environment) -> None:
    """The sentence names the contexts that there are."""
    told = tell(environment, "--context=nowhere-to-be-found")
    assert told.returncode == 1
    assert told.stdout == (f"demo: the kubeconfig knows no context 'nowhere-to-be-found'; it has: {CONTEXT}, current\n")


def tell(environment: Environment, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demo as `make demo` does."""
    command = [sys.executable, "-m", "demo", *arguments]
    told = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, cwd=project_folder(), timeout=WITHIN
    )
    print(told.stdout, told.stderr)
    return told


def expect_the_whole_story(told: subprocess.CompletedProcess[str]) -> None:
    """Expect every chapter's last line."""
    assert told.returncode == 0
    assert told.stdout.count("6 of 6 endpoints serve it") == 2
    assert " handshakes, none failed; 2 certificates seen" in told.stdout
    assert "at one pod at most, before the one that is good was back" in told.stdout
    assert "the reason is SecretNotMounted" in told.stdout
    assert "From apply to proof it took " in told.stdout


def namespaces(api: Api) -> set[str]:
    """The demos' namespaces that are here to stay."""
    found = [each["metadata"] for each in api.request("GET", "/api/v1/namespaces")["items"]]
    return {each["name"] for each in found if each["name"].startswith("demo-") and "deletionTimestamp" not in each}


def namespaces_that_want(api: Api, registry: str) -> set[str]:
    """Namespaces with a Deployment whose image comes from a registry."""
    found = api.request("GET", "/apis/apps/v1/deployments")["items"]
    return {each["metadata"]["namespace"] for each in found if registry in str(each["spec"]["template"])}
