"""The adapter against a real API server: every verb, real conflicts, server-side apply, long lists, exec."""

import math
import threading
import time
from functools import partial

import pytest

from mailtls.api.reading.document import Json
from mailtls.controller.composition import build
from mailtls.controller.election import Leadership
from mailtls.controller.parts import Parts
from mailtls.issuance.solvers.http01_server import Tokens
from mailtls.kube.claims import Claims
from mailtls.kube.client import KubernetesCluster
from mailtls.kube.interface import ApiError, Conflict
from mailtls.kube.login import NotConfigured, configure
from mailtls.kube.pairs import NOBODYS_VERSION
from mailtls.metrics import Metrics
from mailtls.settings import Settings
from testbed.cluster import Cluster
from testbed.layout import NODE_ADDRESS
from testbed.sandbox import Sandbox

pytestmark = pytest.mark.cluster


@pytest.fixture
def adapter(cluster: Cluster) -> KubernetesCluster:
    """Talk to the cluster as the kubeconfig says."""
    return KubernetesCluster(partial(configure, None, str(cluster.layout.kubeconfig)))


@pytest.fixture
def place(sandbox: Sandbox) -> str:
    """Give the path of the test's ConfigMaps."""
    return f"/api/v1/namespaces/{sandbox.name}/configmaps"


@pytest.fixture
def pod(sandbox: Sandbox) -> str:
    """Run a pod that has a shell."""
    container = {
        "name": "main",
        "image": "localhost/postfix:1",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    sandbox.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shell"}, "spec": spec})
    sandbox.wait_for("pods", "shell", lambda seen: (seen or {}).get("status", {}).get("phase") == "Running")
    return "shell"


def config_map(name: str, **data: str) -> Json:
    """Make a ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_an_object_lives_from_creation_to_deletion(adapter: KubernetesCluster, place: str) -> None:
    """Create, read, merge, replace and delete do what their names say."""
    assert adapter.get(f"{place}/a") is None
    made = adapter.create(place, config_map("a", x="1", y="2"))
    merged = adapter.merge(f"{place}/a", {"data": {"y": None, "z": "3"}})
    assert merged["data"] == {"x": "1", "z": "3"}
    replaced = adapter.replace(f"{place}/a", merged | {"data": {"only": "this"}})
    assert adapter.get(f"{place}/a") == replaced
    adapter.delete(f"{place}/a", uid="another-uid")
    assert adapter.get(f"{place}/a") is not None
    adapter.delete(f"{place}/a", uid=made["metadata"]["uid"])
    assert adapter.get(f"{place}/a") is None
    adapter.delete(f"{place}/a")


def test_whoever_comes_second_meets_a_conflict(adapter: KubernetesCluster, place: str) -> None:
    """Creation of what exists, and writes with a stale version, are conflicts."""
    made = adapter.create(place, config_map("a"))
    with pytest.raises(Conflict) as exists:
        adapter.create(place, config_map("a"))
    assert exists.value.reason == "AlreadyExists"
    adapter.merge(f"{place}/a", {"data": {"x": "1"}})
    version = made["metadata"]["resourceVersion"]
    with pytest.raises(Conflict):
        adapter.replace(f"{place}/a", made)
    with pytest.raises(Conflict):
        adapter.merge(f"{place}/a", {"metadata": {"resourceVersion": version}, "data": {"x": "2"}})
    now = adapter.get(f"{place}/a")
    assert now is not None
    assert now["data"] == {"x": "1"}


def test_whoever_means_an_object_that_was_made_anew_meets_a_conflict(adapter: KubernetesCluster, place: str) -> None:
    """A uid guards a merge: what has the name by now is another object."""
    made = adapter.create(place, config_map("a"))
    with pytest.raises(Conflict):
        adapter.merge(f"{place}/a", {"metadata": {"uid": "of-the-one-before"}, "data": {"x": "1"}})
    merged = adapter.merge(f"{place}/a", {"metadata": {"uid": made["metadata"]["uid"]}, "data": {"x": "2"}})
    assert merged["data"] == {"x": "2"}


def test_applying_takes_over_and_leaves_foreign_fields(
    adapter: KubernetesCluster, place: str, sandbox: Sandbox
) -> None:
    """Server-side apply owns what it names, and what others added stays; applying the same again changes nothing."""
    adapter.apply(f"{place}/a", config_map("a", ours="1"))
    sandbox.patch("configmaps", "a", {"data": {"ours": "stolen", "theirs": "2"}})
    first = adapter.apply(f"{place}/a", config_map("a", ours="1"))
    assert first["data"] == {"ours": "1", "theirs": "2"}
    again = adapter.apply(f"{place}/a", config_map("a", ours="1"))
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    managers = {entry["manager"] for entry in again["metadata"]["managedFields"]}
    assert managers == {"mailtls", "a-person"}


def test_applying_over_a_version_meets_a_conflict_once_it_is_stale(adapter: KubernetesCluster, place: str) -> None:
    """What was read is written over, and nothing else."""
    read = adapter.apply(f"{place}/a", config_map("a", x="1"))
    adapter.apply(f"{place}/a", _over(read["metadata"]["resourceVersion"], x="2"))
    with pytest.raises(Conflict):
        adapter.apply(f"{place}/a", _over(read["metadata"]["resourceVersion"], x="3"))
    now = adapter.get(f"{place}/a")
    assert now is not None
    assert now["data"] == {"x": "2"}


def test_applying_over_nobodys_version_makes_and_never_changes(adapter: KubernetesCluster, place: str) -> None:
    """Server-side apply has no other way to say that there must be nothing yet."""
    adapter.apply(f"{place}/a", _over(NOBODYS_VERSION, x="1"))
    with pytest.raises(Conflict):
        adapter.apply(f"{place}/a", _over(NOBODYS_VERSION, x="2"))


def _over(version: str, **data: str) -> Json:
    body = config_map("a", **data)
    body["metadata"]["resourceVersion"] = version
    return body


def test_a_refusal_is_told_in_the_servers_words(adapter: KubernetesCluster, place: str) -> None:
    """An invalid object is an error that carries status, reason and sentence."""
    with pytest.raises(ApiError, match="RFC 1123") as refused:
        adapter.create(place, config_map("Not Valid"))
    assert (refused.value.status, refused.value.reason) == (422, "Invalid")


def test_long_lists_are_complete(adapter: KubernetesCluster, place: str) -> None:
    """More than two chunks come back whole, and a selector is heeded across them."""
    numbers = iter(range(1100))
    lock = threading.Lock()

    def create() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            body = config_map(f"n{number}")
            body["metadata"]["labels"] = {"even": str(number % 2 == 0).lower()}
            adapter.create(place, body)

    threads = [threading.Thread(target=create) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {item["metadata"]["name"] for item in adapter.list(place)}
    assert {f"n{number}" for number in range(1100)} <= names
    assert len(adapter.list(place, label_selector="even=true")) == 550


def test_a_command_says_how_it_ended(adapter: KubernetesCluster, sandbox: Sandbox, pod: str) -> None:
    """Exit code and both streams come back, each in its own."""
    script = "echo to-stdout; echo to-stderr >&2; exit 7"
    executed = adapter.execute(sandbox.name, pod, "main", ["sh", "-c", script], 20)
    assert (executed.exit_code, executed.stdout, executed.stderr) == (7, "to-stdout\n", "to-stderr\n")
    assert adapter.execute(sandbox.name, pod, "", ["true"], 20).exit_code == 0


def test_words_of_a_command_arrive_as_they_are(adapter: KubernetesCluster, sandbox: Sandbox, pod: str) -> None:
    """Spaces, signs and letters of any script are not split or changed."""
    words = ["a b", "&c=d", "ü%20", "", "'\""]
    executed = adapter.execute(sandbox.name, pod, "main", ["printf", "%s|", *words], 20)
    assert executed.stdout == "|".join(words) + "|"


def test_a_command_that_does_not_end_is_left(adapter: KubernetesCluster, sandbox: Sandbox, pod: str) -> None:
    """After the time-out there is no exit code, but what was said so far."""
    begun = time.monotonic()
    executed = adapter.execute(sandbox.name, pod, "main", ["sh", "-c", "echo begun; sleep 300"], 15)
    assert (executed.exit_code, executed.stdout) == (None, "begun\n")
    assert time.monotonic() - begun < 100


def test_command_that_ran_out_of_time_is_not_started_beside_itself(
    adapter: KubernetesCluster, sandbox: Sandbox, pod: str
) -> None:
    """The second call learns how the first one ended; the third one starts anew."""
    slow = ["sh", "-c", "echo begun >> /tmp/runs; sleep 3; exit 5"]
    assert adapter.execute(sandbox.name, pod, "main", slow, 1).exit_code is None
    assert adapter.execute(sandbox.name, pod, "main", slow, 20).exit_code == 5
    assert adapter.execute(sandbox.name, pod, "main", ["cat", "/tmp/runs"], 20).stdout == "begun\n"
    assert adapter.execute(sandbox.name, pod, "main", slow, 20).exit_code == 5
    assert adapter.execute(sandbox.name, pod, "main", ["cat", "/tmp/runs"], 20).stdout == "begun\n" * 2


def test_endless_output_is_cut(adapter: KubernetesCluster, sandbox: Sandbox, pod: str) -> None:
    """64 KiB of each stream are kept, and the exit code is still learnt."""
    script = "head -c 3000000 /dev/zero | tr '\\0' x; exit 3"
    executed = adapter.execute(sandbox.name, pod, "main", ["sh", "-c", script], 30)
    assert (executed.exit_code, len(executed.stdout)) == (3, 64 * 1024)


def test_what_cannot_be_run_is_an_error(adapter: KubernetesCluster, sandbox: Sandbox, pod: str) -> None:
    """A missing program, container or pod is told in the cluster's words."""
    with pytest.raises(ApiError, match="executable file not found"):
        adapter.execute(sandbox.name, pod, "main", ["no-such-program"], 20)
    with pytest.raises(ApiError, match="no-such-container"):
        adapter.execute(sandbox.name, pod, "no-such-container", ["true"], 20)
    with pytest.raises(ApiError) as missing:
        adapter.execute(sandbox.name, "no-such-pod", "main", ["true"], 20)
    assert missing.value.status == 404


def test_an_unknown_context_is_a_sentence(cluster: Cluster) -> None:
    """A context that the kubeconfig does not have is said so."""
    with pytest.raises(NotConfigured, match="no-such-context"):
        configure("no-such-context", str(cluster.layout.kubeconfig))


def test_api_server_names_the_endpoint_that_strangers_are_not_led_to(adapter: KubernetesCluster) -> None:
    """It listens on the node at a port of its own, where Pebble, at other ports, may be reached."""
    settings, leadership = Settings("mailtls", "mailtls-0"), Leadership()
    leadership.extend(math.inf)
    parts = Parts(settings, adapter, Metrics(), leadership, Tokens(), Claims(), threading.Event())
    assert settings.servers.refusal(NODE_ADDRESS, 6443) is None
    build(parts).begin()
    assert settings.servers.refusal(NODE_ADDRESS, 6443) == "the Kubernetes API server"
    assert settings.servers.refusal(NODE_ADDRESS, 14000) is None
