"""`mailtls status` as a program, on a terminal and in a pipe, against an API server that answers one list."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builders.resources import PORT, resource
from functional.cli import KUBECONFIG, ApiServer, Reply, api_server

COLUMNS = 60
LONG_WORDS = "The name server ns1.a-rather-long-provider-name.example.net never had the record " * 3


def wide_resource() -> dict[str, Any]:
    """Long names, long messages and two ports: more than a terminal is wide."""
    history = [{"time": "2026-11-20T00:00:00Z", "event": "Issued", "message": LONG_WORDS}]
    ports = [{**PORT, "pod": "postfix-with-a-long-name-0", "address": "2001:db8:1234:5678::1", "message": LONG_WORDS}]
    made = resource("Verified", endpoints=ports, history=history)
    made["metadata"]["name"] = "the-mail-server-of-the-whole-department"
    made["spec"]["dnsNames"] = ["incoming.mail.department.example.com"]
    return made


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server that knows one resource, by itself and in a list."""
    one = wide_resource()

    def reply(path: str) -> Reply:
        return 200, one if one["metadata"]["name"] in path else {"metadata": {}, "items": [one]}

    with api_server(tmp_path_factory.mktemp("status"), reply) as found:
        yield found


def test_who_may_not_log_in_hears_that_and_not_of_rights(tmp_path: Path) -> None:
    """A token that has expired: nothing could be seen."""
    with api_server(tmp_path, lambda _path: (401, {"reason": "Unauthorized", "message": "Unauthorized"})) as api:
        done = api.run("status")
    assert (done.returncode, done.stdout, done.stderr) == (
        3,
        "",
        "The API server does not accept the kubeconfig's credentials: log in again, or renew them.\n",
    )


@pytest.mark.parametrize("command", [("status",), ("bundle", "--output", "-")])
def test_cluster_that_is_gone_is_named_with_what_to_check(command: tuple[str, ...], tmp_path: Path) -> None:
    """Once, and in the words of the system."""
    (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(port=1))
    done = ApiServer(tmp_path / "kubeconfig").run(*command)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "The API server http://127.0.0.1:1 does not answer (Connection refused): check that the cluster runs, and that "
        "`kubectl config current-context` is the one that you mean.\n"
    )


def on_a_terminal(api: ApiServer, *arguments: str) -> list[str]:
    """The lines that a terminal of so many columns shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with subprocess.Popen(api.command("status", *arguments), stdout=theirs, env=environment) as program:
        os.close(theirs)
        shown = b""
        try:
            while more := os.read(ours, 4096):
                shown += more
        except OSError:  # how a terminal says that nobody writes any more
            pass
        os.close(ours)
    assert program.returncode == 1
    return shown.decode().splitlines()


@pytest.mark.parametrize("name", ["", "the-mail-server-of-the-whole-department"])
def test_status_fits_the_terminal(name: str, api: ApiServer) -> None:
    """The list and the story alike."""
    lines = on_a_terminal(api, *filter(None, [name]))
    assert lines[0].startswith("NAME")
    assert max(len(line) for line in lines if "/reasons/" not in line) <= COLUMNS  # an address can be opened whole


def test_pipe_gets_whole_lines_and_programs_get_json(api: ApiServer) -> None:
    """Nothing is cut where no terminal is."""
    listed = api.run("status")
    assert "incoming.mail.department.example.com" in listed.stdout
    told = api.run("status", "--json")
    read = json.loads(told.stdout)
    assert told.returncode == 1
    assert [each["host"] for each in read["resources"]] == ["incoming.mail.department.example.com"]
