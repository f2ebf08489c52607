"""An operator with the chart's own roles and no others, as its values make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import yaml

from contracts.render import helm_template

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.installation import Installation
    from testbed.sandbox import Sandbox

ACCOUNT: Final = "mailtls"
NEEDED_OF_THE_CHART: Final = {"ServiceAccount", "Role", "RoleBinding"}


def limit(installation: Installation, tmp_path: Path, *switches: str) -> None:
    """Give the operator the rights that the chart grants with these values, and no others; tell it what is off."""
    sandbox = installation.sandbox
    done = helm_template(
        *("--namespace", sandbox.name, "--no-hooks"),
        *("--set", f"watchNamespaces={{{sandbox.name}}}", "--set", "crds.enabled=false"),
        *(part for switch in switches for part in ("--set", switch)),
    )
    assert done.returncode == 0, done.stderr
    rendered = [each for each in yaml.safe_load_all(done.stdout) if each]
    sandbox.apply(*(each for each in rendered if each["kind"] in NEEDED_OF_THE_CHART))
    (deployment,) = (each for each in rendered if each["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    told = {each["name"]: each.get("value", "") for each in container["env"]}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(kubeconfig_of(sandbox, ACCOUNT), encoding="utf-8")
    off = told.get("MAILTLS_DISABLED_FEATURES", "")
    installation.more = {"KUBECONFIG": str(kubeconfig), "MAILTLS_DISABLED_FEATURES": off}


def kubeconfig_of(sandbox: Sandbox, account: str) -> str:
    """A kubeconfig of a service account in a namespace."""
    token = token_of(sandbox, account)
    config: dict[str, Any] = yaml.safe_load(sandbox.cluster.layout.kubeconfig.read_text(encoding="utf-8"))
    config["users"] = [{"name": each["name"], "user": {"token": token}} for each in config["users"]]
    return yaml.safe_dump(config)


def token_of(sandbox: Sandbox, account: str) -> str:
    """A token of a service account, for two hours."""
    wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 7200}}
    path = f"/api/v1/namespaces/{sandbox.name}/serviceaccounts/{account}/token"
    return str(sandbox.api.request("POST", path, body=wanted)["status"]["token"])
