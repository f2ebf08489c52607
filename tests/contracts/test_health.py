"""What Flux, kpt and Argo CD make of a resource, by kstatus' own code and in Argo CD's interpreter of Lua."""

import re
from pathlib import Path

import pytest
import yaml

from builders.outlooks import described
from contracts.render import ROOT
from testbed import gohealth
from testbed.kubernetes import MODULE

EXAMPLE = ROOT / "examples/argo-cd/argocd-cm.yaml"
KEY = "resource.customizations.health.mailtls.dev_MailServerTLS"


def test_kstatus_distinguishes_what_goes_on_from_what_needs_a_person() -> None:
    """Each state is Current, InProgress or Failed, and a resource that nobody has seen yet is not Current."""
    seen = list(described())
    found = gohealth.kstatus(each.resource for each in seen)
    assert {each.name: said["status"] for each, said in zip(seen, found, strict=True)} == {
        each.name: each.kstatus for each in seen
    }
    stalled = next(said for each, said in zip(seen, found, strict=True) if each.name == "CAA")
    assert "Too many." in stalled["message"]


def test_health_check_of_the_example_is_right_in_argo_cds_interpreter(tmp_path: Path) -> None:
    """Each state is Healthy, Progressing, Degraded or Suspended, and the message says why."""
    script = tmp_path / "health.lua"
    script.write_text(yaml.safe_load(EXAMPLE.read_text("utf-8"))["data"][KEY])
    seen = list(described())
    found = gohealth.argo_cd((each.resource for each in seen), script)
    assert {each.name: said["status"] for each, said in zip(seen, found, strict=True)} == {
        each.name: each.argo_cd for each in seen
    }
    assert all(said["message"] for said in found)


def test_health_check_that_is_no_lua_is_an_error(tmp_path: Path) -> None:
    """The interpreter is asked: what it cannot read does not pass."""
    script = tmp_path / "health.lua"
    script.write_text("return {status = ")
    with pytest.raises(AssertionError, match="health failed"):
        gohealth.argo_cd([each.resource for each in described()], script)


@pytest.mark.parametrize("module", gohealth.MODULES, ids=lambda module: module.name)
def test_libraries_of_kubernetes_are_those_that_are_compiled_anyway(module: Path) -> None:
    """Another version of one would have most of them compiled a second time, which takes minutes on a cold machine."""
    theirs, ours = (dict(re.findall(r"^\t(\S+) (v\S+)", text, re.MULTILINE)) for text in texts_of(module))
    shared = {name for name in theirs.keys() & ours.keys() if "k8s.io/" in name}
    assert len(shared) >= 5
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


def texts_of(module: Path) -> list[str]:
    """The go.mod of the testbed's Kubernetes, and of the module."""
    return [(folder / "go.mod").read_text(encoding="utf-8") for folder in (MODULE, module)]
