"""The project's chart, installed by Helm."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import yaml

from testbed.console import Trouble, step
from testbed.layout import project_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from testbed.api import Api, Object

RELEASE = "mailtls"


def install(helm: Sequence[str], namespace: str, values: Mapping[str, object], *options: str) -> None:
    """Install or upgrade the release; `helm` is the program with what leads it to the cluster."""
    command = [*helm, "upgrade", "--install", RELEASE, str(project_folder() / "charts/mailtls")]
    command += [f"--namespace={namespace}", "--values=-", *options]
    with step("helm upgrade --install mailtls charts/mailtls"):
        done = subprocess.run(command, input=yaml.safe_dump(dict(values)), capture_output=True, text=True, check=False)
        if done.returncode:
            message = f"Helm could not install the operator: {done.stderr.strip()}"
            raise Trouble(message)


def installed_crd(api: Api) -> Object | None:
    """The CustomResourceDefinition that the cluster has, if any."""
    return api.find(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd()['metadata']['name']}")


def crd() -> Object:
    """The CustomResourceDefinition of this checkout."""
    found: Object = yaml.safe_load((project_folder() / "crds/mailservertls.yaml").read_text(encoding="utf-8"))
    return found


def image(name: str) -> dict[str, str]:
    """An image's name as the chart wants it."""
    repository, _, tag = name.rpartition(":")
    return {"repository": repository, "tag": tag}
