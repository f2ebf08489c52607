"""What Flux, kpt and Argo CD make of a resource, by kstatus' own code and in Argo CD's interpreter of Lua."""

from pathlib import Path

import pytest
import yaml

from builders.outlooks import described
from contracts.render import ROOT
from testbed import gohealth

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
