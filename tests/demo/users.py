"""The stage in a cluster of the user's own, named by a context of the kubeconfig: everything in one namespace.

Nothing is asked of the cluster but its API server and the images: Pebble runs there as a Deployment, the name to
certify is that of the Service which answers HTTP-01, and the pods are reached by port-forward.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kubernetes import config
from requests.utils import get_environ_proxies

from demo import authority, chart
from demo.client import PORTS, Target
from demo.forward import Forwards
from demo.stage import Stage
from demo.supply import Supply
from mailtls.kube.connection import authorization
from mailtls.kube.login import NotConfigured, configure
from testbed.api import Access, Api
from testbed.cluster import Cluster
from testbed.console import Trouble
from testbed.layout import Layout
from testbed.sandbox import MAIL_SERVER_TLS, Sandbox
from testbed.tools import built, ensure_tools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo.authority import Authority
    from testbed.mailserver import MailServer

PURPOSE = "demo"
HTTP01_SERVICE = f"{chart.RELEASE}-http01"
_OWNER = "meta.helm.sh/release-namespace"


@dataclass(frozen=True, slots=True)
class Programs:
    """kubectl and Helm, each with the option that leads it to the cluster."""

    kubectl: tuple[str, ...]
    helm: tuple[str, ...]

    @classmethod
    def of(cls, context: str) -> Programs:
        """Those of the testbed if they are built, else those in PATH, else they are built now."""
        tools = built()
        if tools is None and not (shutil.which("kubectl") and shutil.which("helm")):
            tools = ensure_tools()
        kubectl, helm = (tools.path(name) if tools else name for name in ("kubectl", "helm"))
        return cls((kubectl, f"--context={context}"), (helm, f"--kube-context={context}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class UsersStage(Stage):
    """A namespace that holds the operator too."""

    context: str
    supply: Supply
    forwards: Forwards
    brought_crd: bool

    def await_ready(self, server: MailServer) -> None:
        """Wait for its pods, or say that they get no image."""
        self.supply.await_rollout(self.sandbox, f"{server.kind.lower()}s.apps", server.name)

    def targets(self, server: MailServer) -> list[Target]:
        """Every port at the end of its port-forward."""
        pods = {pod: self.forwards.to(pod) for pod in server.addresses()}
        return [Target(pod, port, ("127.0.0.1", pods[pod][port])) for pod in pods for port in PORTS]

    def kubectl(self, line: str) -> str:
        """Plainly, with the context."""
        return f"kubectl --context={self.context} {line}"

    @property
    def operator_namespace(self) -> str:
        """The story's own."""
        return self.sandbox.name

    @property
    def clean_up(self) -> tuple[str, ...]:
        """The resources first, while the operator can let go of them; the CRD if the demo brought it."""
        namespace = self.sandbox.name
        lines = (
            self.kubectl(f"delete mst --all -n {namespace}"),
            f"helm --kube-context={self.context} uninstall {chart.RELEASE} -n {namespace}",
            self.kubectl(f"delete namespace {namespace}"),
        )
        return (*lines, self.kubectl(f"delete crd {MAIL_SERVER_TLS}")) if self.brought_crd else lines


@contextmanager
def stage(context: str, images: str) -> Iterator[Stage]:
    """Install Pebble and the operator in a new namespace of the context's cluster; port-forwards end with the story."""
    api = Api(access(context))
    api.request("GET", "/version")
    programs, supply = Programs.of(context), Supply.of(images)
    with tempfile.TemporaryDirectory() as folder:
        sandbox = make_sandbox(api, Path(folder))
        forwards = Forwards(programs.kubectl, sandbox.name)
        other_root, brought_crd = install(programs, sandbox, supply)
        host = f"{HTTP01_SERVICE}.{sandbox.name}.svc.cluster.local"
        made = UsersStage(
            sandbox,
            host,
            other_root,
            supply.postfix,
            context=context,
            supply=supply,
            forwards=forwards,
            brought_crd=brought_crd,
        )
        try:
            yield made
        finally:
            forwards.close()


def make_sandbox(api: Api, folder: Path) -> Sandbox:
    """A namespace that admits Postfix, which begins as root, where the cluster's default is stricter.

    A sandbox runs commands in the testbed's own clusters only; the story runs none, so an empty folder does.
    """
    sandbox = Sandbox.create(Cluster(Layout("users", folder)), api, PURPOSE)
    sandbox.patch(
        "namespaces", sandbox.name, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}
    )
    return sandbox


def access(context: str) -> Access:
    """How the kubeconfig leads to the context's cluster, whatever proves who we are there."""
    known = contexts()
    if context not in known:
        message = f"the kubeconfig knows no context {context!r}; it has: {', '.join(known) or 'none'}"
        raise Trouble(message)
    try:
        found = configure(context)
    except NotConfigured as problem:
        raise Trouble(str(problem)) from problem
    return Access(
        server=found.host,
        verify=(found.ssl_ca_cert or True) if found.verify_ssl else False,
        certificate=(found.cert_file, found.key_file) if found.cert_file else None,
        headers=authorization(found),
        proxies={"https": found.proxy} if found.proxy else get_environ_proxies(found.host),
    )


def contexts() -> list[str]:
    """The contexts of the kubeconfig."""
    try:
        found, _ = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]
    except config.ConfigException as problem:
        message = f"there is no usable kubeconfig: {problem}"
        raise Trouble(message) from problem
    return sorted(each["name"] for each in found)


def install(programs: Programs, sandbox: Sandbox, supply: Supply) -> tuple[str, bool]:
    """Start Pebble and the operator, or leave nothing.

    Returns the name of the root that nobody trusts, and whether the CustomResourceDefinition came with them.
    """
    options = crd_options(sandbox.api)
    brings_crd = options is not None
    try:
        pebble = authority.deploy(sandbox, supply)
        values = settings(sandbox.name, supply, pebble) | {"crds": {"enabled": brings_crd}}
        chart.install(programs.helm, sandbox.name, values, *(options or ()))
        supply.await_rollout(sandbox, "deployments.apps", chart.RELEASE)
    except Trouble:
        sandbox.remove()
        raise
    return pebble.other_root, brings_crd


def crd_options(api: Api) -> tuple[str, ...] | None:
    """How Helm is to install the CustomResourceDefinition; None: there is one that is not the demo's to change."""
    there = chart.installed_crd(api)
    if there is None:
        return ()
    owner = there["metadata"].get("annotations", {}).get(_OWNER, "")
    return ("--take-ownership",) if owner.startswith(f"{PURPOSE}-") else None


def settings(namespace: str, supply: Supply, pebble: Authority) -> dict[str, object]:
    """The chart's values: the authority beside it, and HTTP-01."""
    return {
        "image": chart.image(supply.operator),
        "acme": {
            "server": pebble.directory_url,
            "email": f"postmaster@{namespace}.example",
            "caBundle": {"inline": pebble.ca_bundle},
            # Not every cluster leads a pod that asks its own Service back to itself; the authority is another pod.
            "solvers": [{"http01": {"selfCheck": False}}],
        },
        "trust": {"inline": pebble.root},
        "watchNamespaces": [namespace],
    }
