"""`mailtls preflight` as CI runs it: a program without any cluster."""

import socket
from pathlib import Path

import pytest

from functional.cli import CHILDREN, MX_CHILD, mailtls
from functional.signed_zones import resolving

MANIFEST = """\
apiVersion: mailtls.dev/v1alpha1
kind: MailServerTLS
metadata: {name: mx}
spec:
  dnsNames: [mx1.example.invalid]
  workloads: [{kind: StatefulSet, name: postfix, preset: postfix%s}]
"""
NOWHERE = ("--resolver", "127.0.0.1:1")


@pytest.mark.parametrize(("more", "code"), [(", bogus: 1", 1), ("", 3)])
def test_unknown_field_fails_without_a_cluster(more: str, code: int, tmp_path: Path) -> None:
    """A slip of the pen is found before anybody applies it; what is taken for granted is said."""
    (tmp_path / "mx.yaml").write_text(MANIFEST % more)
    done = mailtls("preflight", "--offline", str(tmp_path / "mx.yaml"), *NOWHERE)
    assert done.returncode == code, done  # 3: the DNS was not to be asked
    assert ("spec.workloads[0].bogus is no field" in done.stdout) is bool(more)
    assert ("OK   admission" in done.stdout) is not bool(more)
    assert "acme.server letsencrypt" in done.stdout
    assert "CEL" in done.stdout or more


@pytest.mark.parametrize("options", [(), ("--offline",)])
def test_file_that_is_no_yaml_is_named_also_without_a_cluster(options: tuple[str, ...], tmp_path: Path) -> None:
    """The file is at fault, and not the cluster that nobody has."""
    (tmp_path / "mx.yaml").write_text("a: [")
    done = mailtls("preflight", str(tmp_path / "mx.yaml"), *options)
    assert done.returncode == 2, done
    assert done.stderr.startswith("This is no YAML: ")
    assert len(done.stderr.splitlines()) == 1


def test_good_file_without_a_cluster_is_not_looked_at(tmp_path: Path) -> None:
    """Without --offline the cluster is meant to be asked."""
    (tmp_path / "mx.yaml").write_text(MANIFEST % "")
    done = mailtls("preflight", str(tmp_path / "mx.yaml"))
    assert (done.returncode, "no kubeconfig at /nonexistent" in done.stderr) == (3, True), done


def test_mail_ports_are_knocked_at_where_clients_dial(tmp_path: Path) -> None:
    """A port that nobody answers at is doubtful, as its pods may come later; LMTP is nobody's outside."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as idle:
        idle.bind(("127.0.0.1", 0))
        there, missing = listening.getsockname()[1], idle.getsockname()[1]
        mail = f"{{port: {there}, tlsMode: StartTLS}}, {{port: {missing}, tlsMode: Implicit}}"
        ports = f"{mail}, {{port: 24, protocol: lmtp, tlsMode: StartTLS}}"
        manifest = MANIFEST.replace("mx1.example.invalid", "mx1.example.com") % f", ports: [{ports}]"
        (tmp_path / "mx.yaml").write_text(manifest)
        with resolving(tmp_path / "dns", CHILDREN | {"example.com": MX_CHILD}) as (resolver, _):
            done = mailtls("preflight", "--offline", str(tmp_path / "mx.yaml"), "--resolver", resolver)
    told = [line for line in done.stdout.splitlines() if " ports " in line]
    assert [line.split()[0] for line in told] == ["OK", "WARN"], done
    assert f"Port {there} of mx1.example.com at 127.0.0.1 answers from here" in told[0]
    assert f"Port {missing} (Connection refused)" in told[1]
    assert " 24 " not in done.stdout
