"""The commands of the documentation, typed as printed: from `helm install` to `helm uninstall`, on one installation."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import yaml

from contracts.journey import STRETCHES
from contracts.render import ROOT
from e2e.charted import values_for
from e2e.reader import Reader
from testbed.mailserver import MailServer

if TYPE_CHECKING:
    from pathlib import Path

    from contracts.journey import Step
    from testbed.pebble import Pebble
    from testbed.sandbox import Sandbox
    from testbed.zones import NameServer, Zone

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900), pytest.mark.usefixtures("crd", "operator_image")]

AT_ONCE = 4


def test_commands_of_the_documentation_work_as_they_are_printed(
    sandbox: Sandbox, zone: Zone, names: NameServer, shared_pebble: Pebble, email: str, tmp_path: Path
) -> None:
    """Each ends as it should, and prints what its page is about; all that do not are named."""
    reader = stand_in_a_checkout(sandbox, zone, shared_pebble, email, tmp_path)
    postfix = MailServer(sandbox, zone.host("mx1"), replicas=1).deploy()
    (address,) = postfix.addresses().values()
    for label in ("mx1", "mail"):
        names.set_record(zone, zone.host(label), "A", address)
    names.set_record(zone, zone.name, "MX", f"10 {zone.host('mx1')}.")
    first, looking, last = STRETCHES
    wrong = [trouble(reader, step, address) for step in first]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        wrong += pool.map(lambda step: trouble(reader, step, address), looking)
    wrong = [complaint for complaint in [*wrong, *(trouble(reader, step, address) for step in last)] if complaint]
    assert not wrong, "\n\n".join(wrong)


def stand_in_a_checkout(sandbox: Sandbox, zone: Zone, pebble: Pebble, email: str, folder: Path) -> Reader:
    """A folder with what a reader has: the repository, with the namespaces of the test, and a resource in a file."""
    (folder / "values.yaml").write_text(yaml.safe_dump(values_for(sandbox, zone, pebble, email)), encoding="utf-8")
    reader = Reader(sandbox, zone, folder / "reader", pebble.root(), folder / "values.yaml")
    for part in ("charts", "crds", "deploy", "examples"):
        shutil.copytree(ROOT / part, reader.folder / part)
    manifest = reader.folder / "deploy" / "mailtls.yaml"
    manifest.write_text(
        manifest.read_text("utf-8").replace("namespace: mailtls", f"namespace: {sandbox.name}"), "utf-8"
    )
    (reader.folder / "my-values.yaml").write_text("{}\n", encoding="utf-8")
    (reader.folder / "textfile").mkdir()
    live = reader.folder / "live" / zone.host("mx1")
    live.mkdir(parents=True)
    (live / "cert.pem").write_text(pebble.root(), encoding="utf-8")
    spec = {
        "dnsNames": [zone.host("mx1"), zone.host("mail")],
        "secretName": "mx-tls",
        "workloads": [{"kind": "StatefulSet", "name": "postfix", "preset": "postfix"}],
    }
    kind = {"apiVersion": "mailtls.dev/v1alpha1", "kind": "MailServerTLS"}
    resource = kind | {"metadata": {"name": "mx", "namespace": sandbox.name}, "spec": spec}
    (reader.folder / "mx.yaml").write_text(yaml.safe_dump(resource), encoding="utf-8")
    return reader


def trouble(reader: Reader, step: Step, address: str) -> str:
    """Take one step; gives what is wrong with it, or nothing."""
    command = step.command.replace("POD_IP", address).replace("jG1d...w=", reader.zone.key.secret)
    begun = time.monotonic()
    done = reader.type(command, before=step.before or "true", is_trial=step.is_trial)
    print(f"{time.monotonic() - begun:5.1f} s  {step.command}")
    if done.returncode in step.codes and step.says in reader.as_printed(done.stdout):
        return ""
    return f"$ {step.command}\n{done.stdout}{done.stderr}(exit code {done.returncode}; expected «{step.says}»)"
