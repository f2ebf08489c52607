"""`mailtls init` as a program, in a terminal and without one, against an API server that notes what is asked of it."""

import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import kube
from functional.cli import HERE, ApiServer, Reply, api_server

POSTFIX = kube.workload(spec={"containers": [{"name": "postfix", "image": "registry.example.com/postfix:3.10"}]})
OPTIONS = ("--no-preflight", "--resolver", "127.0.0.1:1")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiServer]:
    """One StatefulSet of Postfix, in a cluster that has nothing else."""

    def reply(path: str) -> Reply:
        if not path.partition("?")[0].endswith("s"):
            return 404, {"message": "not found"}
        items: list[Any] = [POSTFIX] if "/statefulsets" in path else []
        return 200, {"metadata": {}, "items": items}

    with api_server(tmp_path, reply) as found:
        yield found


def test_in_a_terminal_it_asks_and_prints_what_can_be_piped(api: ApiServer) -> None:
    """Questions go to standard error and answers come from the terminal, so that the manifest can go into a file."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            api.command("init", *OPTIONS),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=HERE,
        ) as running:
            os.write(ours, b"mx1.example.com, mail.example.com\npostmaster@example.com\n")
            printed, said = running.communicate(timeout=120)
    finally:
        os.close(ours)
        os.close(theirs)
    assert running.returncode == 0, said
    values, resource, pods = yaml.safe_load_all(printed)
    assert values["acme"]["email"] == "postmaster@example.com"
    assert resource["spec"]["dnsNames"] == ["mx1.example.com", "mail.example.com"]
    assert resource["spec"]["workloads"] == [{"kind": "StatefulSet", "name": "postfix", "preset": "postfix"}]
    assert pods["spec"]["template"]["spec"]["volumes"] == [{"name": "mail-tls", "secret": {"secretName": "mx-tls"}}]
    assert "StatefulSet/postfix has mail servers: postfix in container postfix." in said
    assert api.methods == {"GET"}


def test_without_a_terminal_it_asks_nothing(api: ApiServer) -> None:
    """In a pipe only options count: without a name it says which option is missing, and prints nothing."""
    done = api.run("init", *OPTIONS)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Write --dns-name" in done.stderr
