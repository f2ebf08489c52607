"""From a bare machine to a running cluster: packages, tools and images, the slow parts side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from testbed import containers, gomail, host, images, kubernetes, operator_image, trees
from testbed.console import say
from testbed.tools import Tools, content_hash, ensure_tools

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.cluster import Cluster


def prepare(*, for_tests: bool = False, with_operator: bool = False) -> tuple[Tools, list[Path]]:
    """Build whatever is missing for the cluster; the Go build runs while the images are made."""
    host.require()
    host.ensure_packages(for_tests=for_tests)
    with ThreadPoolExecutor(max_workers=2) as pool:
        tools = pool.submit(ensure_tools)
        made = pool.submit(_images, with_operator=with_operator)
        if for_tests:
            trees.ensure_all()
            tools.result()
            gomail.ensure()
        return tools.result(), made.result()


def ensure_up(cluster: Cluster, *, with_operator: bool = False) -> None:
    """Bring the cluster up unless it is; `refresh_operator_image` hands it the operator's image."""
    if not cluster.is_up:
        tools, archives = prepare(with_operator=with_operator)
        cluster.up(tools, archives, recipe=_recipe())
    elif cluster.recipe != _recipe():
        say(f"cluster {cluster.layout.name} is of older programs or images: `make cluster-down` lets the next be new")


def refresh_operator_image(cluster: Cluster) -> None:
    """Build the operator's image from the checkout and hand it to a running cluster."""
    archive = operator_image.ensure()
    if cluster.is_up and operator_image.is_news(cluster.layout, archive):
        containers.import_image(cluster.layout, archive)
        operator_image.remember(cluster.layout, archive)


def _recipe() -> str:
    return content_hash(*kubernetes.chosen().sources, images.SOURCES)


def _images(*, with_operator: bool) -> list[Path]:
    """Make the images that the cluster starts with; the operator's is handed to it later."""
    made = [images.ensure_pause(), images.ensure_postfix()]
    if with_operator:
        operator_image.ensure()
    return made
