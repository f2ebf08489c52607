"""What `init` makes of the objects of a cluster; what a real API server says of it is tested with one."""

import pytest
import typer
import yaml
from hypothesis import given
from hypothesis import strategies as st

from builders import kube
from builders.authority import Authority, cert_manager_secret
from fakes.cluster import FakeCluster
from mailtls.api.reading.document import Json
from mailtls.api.reading.spec import parse
from mailtls.cli.init import documents
from mailtls.cli.init.documents import MOUNT_PATH, Plan, Rfc2136
from mailtls.cli.init.servers import mail_workload, workload_json
from mailtls.cli.init.surroundings import Surroundings, look_around
from mailtls.cli.init_command import _chosen, _decided, _plan
from mailtls.cli.preflight_command import _defaults, read_manifests
from mailtls.kube.interface import ApiError

NAMESPACE = "mail"
WORKLOADS = f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"


def container(name: str, image: str, *ports: int) -> Json:
    """A container of a pod template."""
    return {"name": name, "image": image, "ports": [{"containerPort": port} for port in ports]}


def workload(*containers: Json, name: str = "mail", volumes: tuple[Json, ...] = ()) -> Json:
    """A StatefulSet as the API server shows it."""
    made = kube.workload(spec={"containers": list(containers), "volumes": list(volumes)})
    return made | {"metadata": made["metadata"] | {"name": name, "namespace": NAMESPACE}}


def cluster(*workloads: Json) -> FakeCluster:
    """A cluster with these in the namespace."""
    return FakeCluster({f"{WORKLOADS}/{each['metadata']['name']}": each for each in workloads})


def planned(around: Surroundings, *, external: bool | None = None, dns: Rfc2136 | None = None) -> Plan:
    """What `init --dns-name mx1.example.com` decides."""
    given_ = ("", "", "", external)
    return _plan(around, _chosen((), around), ("mx1.example.com",), given_, dns, bootstrap=True)


@pytest.mark.parametrize(
    ("containers", "wanted"),
    [
        (
            (container("mta", "registry.example.com/boky/postfix:v4", 25, 587),),
            {"preset": "postfix", "ports": [25, 587]},
        ),
        ((container("postfix", "postfix@sha256:00"),), {"preset": "postfix"}),
        ((container("p", "postfix:3", 25, 465, 587),), {"preset": "postfix"}),
        ((container("imap", "dovecot/dovecot:2.4", 993),), {"preset": "dovecot", "ports": [993]}),
        ((container("edge", "haproxy:3.0", 465, 993),), {"preset": "haproxy"}),
        ((container("exim4", "me/mta:1", 25),), {"preset": "exim", "ports": [25]}),
        ((container("dovecot", "me/postfix:1", 143, 993),), {"preset": "dovecot"}),
        ((container("mail", "stalwartlabs/stalwart:v0.16", 25, 993),), {"preset": "generic", "ports": [25, 993]}),
    ],
)
def test_server_is_recognized_by_image_name_or_port(containers: tuple[Json, ...], wanted: Json) -> None:
    """With the ports that it declares, where they are not the preset's."""
    found = mail_workload("StatefulSet", workload(*containers))
    assert found is not None
    written = workload_json(found)
    ports = [each["port"] for each in written.get("ports", ())]
    assert {"preset": written["preset"]} | ({"ports": ports} if ports else {}) == wanted
    assert written.get("updateStrategy") == ("Restart" if wanted["preset"] == "generic" else None)


@pytest.mark.parametrize(
    "other",
    [
        container("web", "nginx:1", 80, 443),
        container("lb", "haproxy:3", 443),
        container("metrics", "boynux/postfix-exporter:1", 9154),
        container("app", "example/app:1", 8080),
    ],
)
def test_what_is_no_mail_server_is_left_out(other: Json) -> None:
    """A web server and an exporter beside it; alone they are no mail workload."""
    assert mail_workload("Deployment", workload(other)) is None
    found = mail_workload("Deployment", workload(container("postfix", "postfix:3"), other))
    assert found is not None
    assert [each.container for each in found.servers] == ["postfix"]


def test_several_servers_are_daemons_and_an_image_that_reloads_by_itself_is_only_watched() -> None:
    """Postfix and Dovecot in two containers; docker-mailserver has both in one."""
    two = mail_workload(
        "StatefulSet", workload(container("mta", "postfix:3"), container("imap", "dovecot:2.4", 143, 993))
    )
    assert two is not None
    assert workload_json(two)["daemons"] == [
        {"container": "mta", "preset": "postfix"},
        {"container": "imap", "preset": "dovecot"},
    ]
    one = mail_workload("Deployment", workload(container("m", "mailserver/docker-mailserver:15", 25, 993)))
    assert one is not None
    written = workload_json(one)
    assert written["updateStrategy"] == "None"
    assert [each["preset"] for each in written["daemons"]] == ["postfix", "dovecot"]


def test_manifest_can_be_read_by_the_operator_and_values_name_the_solver() -> None:
    """With the placeholder, as nothing is there yet."""
    around = look_around(cluster(workload(container("postfix", "postfix:3"))), NAMESPACE)
    plan = planned(around, dns=Rfc2136("ns1.example.com", "mailtls", "tsig"))
    (resource,) = read_manifests(documents.manifest(plan), "elsewhere")
    assert resource["metadata"] == {"name": "mx", "namespace": NAMESPACE}
    complete = resource | {"metadata": resource["metadata"] | CREATED}
    desired = parse(complete, _defaults(None))
    assert (desired.secret_name, str(desired.bootstrap), desired.is_external) == ("mx-tls", "SelfSigned", False)
    assert [str(each) for each in desired.workloads] == ["StatefulSet/mail"]
    values = yaml.safe_load(documents.values(plan))
    assert values["acme"]["solvers"][0]["dns01"]["rfc2136"]["server"] == "ns1.example.com"


CREATED = {"uid": "u", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}


def test_applying_what_it_prints_leaves_nothing_to_print() -> None:
    """The same manifest again, under the same names, and nothing more for the pods."""
    servers = workload(container("postfix", "postfix:3"), container("dovecot", "dovecot:2.4"))
    servers["spec"]["template"]["spec"]["volumes"] = [{"name": "mail-tls", "emptyDir": {}}]
    there = cluster(servers)
    plan = planned(look_around(there, NAMESPACE))
    before = documents.manifest(plan)
    added = yaml.safe_load(documents.pods(plan))["spec"]["template"]["spec"]
    assert added["volumes"] == [{"name": "mail-tls-2", "secret": {"secretName": "mx-tls"}}]
    pod = servers["spec"]["template"]["spec"]
    pod["volumes"] += added["volumes"]
    for mine, more in zip(pod["containers"], added["containers"], strict=True):
        mine["volumeMounts"] = more["volumeMounts"]
    there = cluster(servers)
    there.objects[f"/apis/mailtls.dev/v1alpha1/namespaces/{NAMESPACE}/mailservertls/mx"] = documents.resource(plan)
    again = planned(look_around(there, NAMESPACE))
    assert documents.manifest(again) == before
    assert yaml.safe_load(documents.pods(again)) is None
    assert f"dovecot:{MOUNT_PATH}/tls.crt" in documents.pods(again)
    assert not there.writes


def test_secret_of_somebody_else_stays_his() -> None:
    """The pods mount what cert-manager writes: its names are taken, and nothing is ordered unless one says so."""
    name = "mail-tls"
    mounts = {"volumeMounts": [{"name": "certs", "mountPath": "/certs"}]}
    servers = workload(
        container("postfix", "postfix:3") | mounts, volumes=({"name": "certs", "secret": {"secretName": name}},)
    )
    there = cluster(servers)
    issued = Authority().issue("mx1.example.com", "mail.example.com")
    there.objects[f"{SECRETS}/{name}"] = cert_manager_secret(NAMESPACE, name, issued)
    around = look_around(there, NAMESPACE)
    plan = _plan(around, around.workloads, (), ("", "", "", None), None, bootstrap=True)
    assert plan.is_external
    assert set(plan.dns_names) == {"mx1.example.com", "mail.example.com"}
    assert documents.resource(plan)["spec"]["external"] == {}
    assert "cert-manager" in _decided(around, plan)[0]
    assert yaml.safe_load(documents.values(plan)) == {"features": {"issuance": False}}
    ordered = planned(around, external=False)
    assert "external" not in documents.resource(ordered)["spec"]
    assert "mailtls.dev/adopt=true" in _decided(around, ordered)[0]


def test_without_a_terminal_a_name_must_be_given() -> None:
    """Nobody can be asked."""
    around = look_around(cluster(workload(container("postfix", "postfix:3"))), NAMESPACE)
    with pytest.raises(typer.Exit):
        _plan(around, around.workloads, (), ("", "", "", None), None, bootstrap=True)


def test_workload_that_is_not_there_is_refused() -> None:
    """The name alone will do where it is one's only."""
    around = look_around(cluster(workload(container("postfix", "postfix:3"), name="mx")), NAMESPACE)
    assert _chosen(("mx",), around) == _chosen(("StatefulSet/mx",), around) == around.workloads
    with pytest.raises(typer.Exit):
        _chosen(("Deployment/mx",), around)


def test_what_may_not_be_seen_is_said() -> None:
    """Few rights: a sentence for each, and no more than that."""
    forbidden = ApiError(403, "Forbidden", "you may not list it")
    around = look_around(FakeCluster(refuse={"list": forbidden}), NAMESPACE)
    assert around.workloads == ()
    assert any("StatefulSets cannot be seen" in each for each in around.hidden)


names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-./:@ \x00\x1b#\n", max_size=30)


@given(st.lists(st.tuples(names, names, st.lists(st.integers(1, 65535), max_size=4)), max_size=4))
def test_whatever_images_are_called_what_is_printed_is_yaml(containers: list[tuple[str, str, list[int]]]) -> None:
    """A stranger's pod template never ends a comment or a document."""
    made = workload(*(container(name, image, *ports) for name, image, ports in containers))
    plan = planned(look_around(cluster(made), NAMESPACE))
    assert read_manifests(documents.manifest(plan), NAMESPACE)
    list(yaml.safe_load_all(documents.pods(plan)))
