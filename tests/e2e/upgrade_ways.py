"""The ways in which docs/how-to/upgrade.md upgrades the operator: each is followed by the commands of that page."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import yaml

from contracts.snippets import page_text
from e2e.upgrading import HOME, Release, commands

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from testbed.sandbox import Sandbox

_PAGE = "upgrade.md"
_ROOTS = "/etc/mailtls/roots"
_OVERLAY = re.compile(r"```yaml\n(apiVersion: kustomize.*?)```", re.DOTALL)


class Way(Protocol):
    """What a reader does, with values as the chart has them, files of a checkout and the tag of an image."""

    release: Release

    def prepare(self, home: Sandbox, values: Mapping[str, Any], checkout: Path, tag: str) -> None:
        """Edit the files that the commands read."""

    def install(self) -> None:
        """Install what was prepared."""

    def upgrade(self) -> None:
        """Upgrade to what was prepared."""

    def go_back(self) -> None:
        """Bring the version before back; it was prepared again."""

    def upgrade_again(self) -> None:
        """Upgrade once more, in another way that the page shows, if any."""


@dataclass
class WithHelm:
    """A release of the chart."""

    release: Release

    def prepare(self, home: Sandbox, values: Mapping[str, Any], checkout: Path, tag: str) -> None:
        """Write the values of a reader."""
        image = {"repository": "localhost/mailtls", "tag": tag}
        self.release.write_values({**values, "image": image})
        self.release.stand_in(checkout)

    def install(self) -> None:
        """As the installation guide says."""
        command = "helm install mailtls charts/mailtls --namespace mailtls --values my-values.yaml"
        self.release.run(f"{command} --wait --timeout=120s")

    def upgrade(self) -> None:
        """Upgrade and test, with the file of values."""
        said = commands(_PAGE, "With Helm")
        assert [each.split()[0] for each in said] == ["helm", "kubectl", "helm"], said
        self.release.run(*said)

    def go_back(self) -> None:
        """Helm has kept the version before."""
        self.release.run(*commands(_PAGE, "Back to the version before"))

    def upgrade_again(self) -> None:
        """Without a file of values."""
        (again,) = commands(_PAGE, "Without a file of values")
        self.release.run(f"{again.replace('image.tag=TAG', 'image.tag=dev')} --wait --timeout=120s")


@dataclass
class WithManifests:
    """The manifest of the repository, edited."""

    release: Release

    def prepare(self, home: Sandbox, values: Mapping[str, Any], checkout: Path, tag: str) -> None:
        """Set image and variables in a copy of the files, as an editor does."""
        _store_roots(home, values)
        _copy(checkout, self.release.folder)
        manifest = self.release.folder / "deploy/mailtls.yaml"
        documents = [each for each in yaml.safe_load_all(manifest.read_text(encoding="utf-8")) if each]
        (deployment,) = (each for each in documents if each["kind"] == "Deployment")
        pod, change = deployment["spec"]["template"]["spec"], _change(values)
        (container,), (changed,) = pod["containers"], change["containers"]
        container["image"] = f"localhost/mailtls:{tag}"
        variables = {each["name"]: each for each in [*container["env"], *changed["env"]]}
        container["env"] = list(variables.values())
        container["volumeMounts"] += changed["volumeMounts"]
        pod["volumes"] += change["volumes"]
        manifest.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
        self.release.stand_in(self.release.folder)

    def install(self) -> None:
        """Definition and operator at once."""
        self.release.run("kubectl apply --server-side -f crds/ -f deploy/mailtls.yaml", _ROLLED_OUT)

    def upgrade(self) -> None:
        """The definition first."""
        self.release.run(*commands(_PAGE, "Without Helm"))

    def go_back(self) -> None:
        """The definition last."""
        self.release.run(*commands(_PAGE, "Back without Helm"))

    def upgrade_again(self) -> None:
        """There is no other way."""
        self.upgrade()


@dataclass
class WithOverlay:
    """The overlay of the installation guide, beside a checkout."""

    release: Release

    def prepare(self, home: Sandbox, values: Mapping[str, Any], checkout: Path, tag: str) -> None:
        """Write the overlay as it is printed, with another image and more variables."""
        _store_roots(home, values)
        _copy(checkout, self.release.folder / "mailtls")
        printed = _OVERLAY.search(page_text("install.md"))
        assert printed is not None
        overlay = yaml.safe_load(printed[1])
        overlay["images"][0] |= {"newName": "localhost/mailtls", "newTag": tag}
        patch = yaml.safe_load(overlay["patches"][0]["patch"])
        patch["spec"]["template"]["spec"] = _change(values)
        overlay["patches"][0]["patch"] = yaml.safe_dump(patch)
        (self.release.folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
        self.release.stand_in(self.release.folder)

    def install(self) -> None:
        """All at once."""
        self.release.run("kubectl kustomize . | kubectl apply --server-side -f -", _ROLLED_OUT)

    def upgrade(self) -> None:
        """Again, as the definition comes first by itself."""
        self.release.run(*commands(_PAGE, "With kustomize"))

    def go_back(self) -> None:
        """The same command, with the files of the version before."""
        self.upgrade()

    def upgrade_again(self) -> None:
        """There is no other way."""
        self.upgrade()


_ROLLED_OUT = "kubectl -n mailtls rollout status deployment/mailtls"


def _copy(checkout: Path, folder: Path) -> None:
    for name in ("crds", "deploy"):
        shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(checkout / name, folder / name)


def _store_roots(home: Sandbox, values: Mapping[str, Any]) -> None:
    data = {"acme.pem": values["acme"]["caBundle"]["inline"], "trust.pem": values["trust"]["inline"]}
    home.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "roots", "namespace": HOME}, "data": data}
    )


def _change(values: Mapping[str, Any]) -> dict[str, Any]:
    """What of a pod's spec says the same as values of the chart: variables, and roots from a ConfigMap."""
    variables = {
        "MAILTLS_ACME_SERVER": values["acme"]["server"],
        "MAILTLS_ACME_EMAIL": values["acme"]["email"],
        "MAILTLS_ACME_SOLVERS": json.dumps(values["acme"]["solvers"]),
        "MAILTLS_ALLOWED_NETWORKS": ",".join(values["connections"]["allowedNetworks"]),
        "MAILTLS_ACME_CA_BUNDLE_FILE": f"{_ROOTS}/acme.pem",
        "MAILTLS_TRUST_BUNDLE_FILE": f"{_ROOTS}/trust.pem",
    }
    container = {
        "name": "operator",
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "volumeMounts": [{"name": "roots", "mountPath": _ROOTS}],
    }
    return {"containers": [container], "volumes": [{"name": "roots", "configMap": {"name": "roots"}}]}
