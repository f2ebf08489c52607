"""The images that a cluster of somebody else must have, and the one sentence for when it has not."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed import host, images, operator_image
from testbed.console import Trouble
from testbed.mailserver import is_rolled_out

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.sandbox import Sandbox

_HOPELESS = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")


@dataclass(frozen=True, slots=True)
class Supply:
    """The images' names in the cluster, and the archives to load them from: none when they are in a registry."""

    operator: str
    postfix: str
    pebble: str
    archives: tuple[Path, ...] = ()

    @classmethod
    def of(cls, registry: str) -> Supply:
        """The images of a registry, as `registry.example.com/mail`, or those that are built here."""
        operator, postfix, pebble = (
            name.replace("localhost", registry.rstrip("/") or "localhost", 1)
            for name in (operator_image.NAME, images.POSTFIX, images.PEBBLE)
        )
        return cls(operator, postfix, pebble, () if registry else _build())

    def await_rollout(self, sandbox: Sandbox, kind: str, name: str, *, within: float = 120.0) -> None:
        """Wait until a workload's pods are ready; raises Trouble as soon as one cannot get its image."""
        deadline = time.monotonic() + within
        while not is_rolled_out(sandbox.find(kind, name)):
            if (image := missing_image(sandbox)) is not None:
                raise Trouble(self.advice(image))
            if time.monotonic() > deadline:
                message = f"{kind} {name} is not ready after {within:.0f} s:\n{sandbox.describe()}"
                raise Trouble(message)
            time.sleep(0.2)

    def advice(self, image: str) -> str:
        """What to do about an image that the nodes do not get."""
        if not self.archives:
            return f"the cluster cannot pull {image}: push it there, or run without IMAGES to have it built"
        files = shlex.join(str(archive) for archive in self.archives)
        return (
            f"the cluster has no image {image}: load these archives on its nodes (with `kind load image-archive FILE"
            " --name CLUSTER`, `k3s ctr images import FILE`, `minikube image load FILE`), or push them to a registry"
            f" under the same names and say IMAGES=registry.example.com/mail: {files}"
        )


def missing_image(sandbox: Sandbox) -> str | None:
    """An image that some pod waits for in vain."""
    for pod in sandbox.objects("pods"):
        for container in pod["status"].get("containerStatuses", ()):
            if container["state"].get("waiting", {}).get("reason") in _HOPELESS:
                return str(container["image"])
    return None


def _build() -> tuple[Path, ...]:
    """Build the three archives, which takes what the embedded cluster takes."""
    if (obstacle := host.obstacle()) is not None:
        message = f"the images cannot be built here ({obstacle}): say IMAGES=registry.example.com/mail if you have them"
        raise Trouble(message)
    host.require()
    host.ensure_packages()
    return operator_image.ensure(), images.ensure_postfix(), images.ensure_pebble()
