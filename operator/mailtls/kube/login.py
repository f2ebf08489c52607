"""Where the cluster is and who we are: a pod's service account, or a kubeconfig; one sentence for each thing wrong."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import Any, Final

import yaml
from kubernetes import config
from kubernetes.client import Configuration
from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION, KubeConfigMerger

from mailtls.kube.interface import Unreachable
from mailtls.reasons.quoting import printable, shorten

CONNECTIONS: Final = 64  # more than threads ever use, so that no connection is thrown away
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
# The loader trusts the file to be what it should be: anything else falls over somewhere in it.
_UNUSABLE = (config.ConfigException, OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError)
_OF_THE_LIBRARY: Final = re.compile(r"^(\[Errno \d+\] |exec: |Invalid kube-config( file)?\. )")


class NotConfigured(Unreachable):
    """Neither a service account nor a usable kubeconfig was found; the message says what to do."""


def configure(context: str | None = None, kubeconfig: str | None = None) -> Any:
    """Load the client's configuration afresh: of what is named, else of the pod, else of the user's kubeconfig.

    `kubeconfig` is a path, or several as in KUBECONFIG. Who names one or a context in a pod means another cluster.
    Raises `NotConfigured`, also where the kubeconfig names a login command that gives no credentials.
    """
    loaded = Configuration()
    loaded.connection_pool_maxsize = CONNECTIONS
    if context is None and kubeconfig is None and _in_pod(loaded):
        return loaded
    with _failures_of_logins() as failures:
        try:
            config.load_kube_config(kubeconfig, context, loaded)  # type: ignore[no-untyped-call]
        except _UNUSABLE as problem:
            raise NotConfigured(_fault(problem, context, kubeconfig)) from problem
    if failures and not (loaded.api_key or loaded.cert_file):
        command = _login_command(context, kubeconfig)
        raise NotConfigured(
            f"The login command {command} of the kubeconfig gave no credentials ({_words(failures[-1])}): "
            "install it, or log in again."
        )
    return loaded


def current_namespace(context: str | None = None, kubeconfig: str | None = None) -> str:
    """Return the namespace that is meant where none is named: the context's, or the pod's own."""
    try:
        contexts, active = config.list_kube_config_contexts(kubeconfig)  # type: ignore[no-untyped-call]
    except _UNUSABLE:
        return _NAMESPACE_FILE.read_text().strip() if _NAMESPACE_FILE.exists() else "default"
    chosen = next((each for each in contexts if each["name"] == context), active)
    return str((chosen.get("context") or {}).get("namespace") or "default")


def _in_pod(loaded: Any) -> bool:
    try:
        config.load_incluster_config(client_configuration=loaded)  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError):
        return False
    return True


@contextmanager
def _failures_of_logins() -> Iterator[list[str]]:
    """Collect what the library logs: it goes on without credentials when a login command fails, and logs why."""
    said: list[str] = []
    thread = get_ident()

    def keep(record: logging.LogRecord) -> bool:
        if record.thread == thread:
            said.append(record.getMessage())
        return record.thread != thread

    root = logging.getLogger()  # its filters see what is logged by itself alone, as the library does
    root.addFilter(keep)
    try:
        yield said
    finally:
        root.removeFilter(keep)


def _fault(problem: Exception, context: str | None, kubeconfig: str | None) -> str:
    """Say what keeps the kubeconfig from being used, and what to do."""
    paths = kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION
    try:
        merged = KubeConfigMerger(paths).config  # type: ignore[no-untyped-call]
        if merged is None:
            return f"There is no kubeconfig at {_words(paths)}: set KUBECONFIG to the path of one."
        if context is not None and context not in {each["name"] for each in merged.value["contexts"]}:
            return f"The kubeconfig has no context «{_words(context)}»; kubectl config get-contexts lists them."
        if context is None and not merged.value.get("current-context"):
            return "The kubeconfig has no current context: choose one by kubectl config use-context, or by --context."
    except _UNUSABLE:
        pass
    return f"The kubeconfig cannot be used ({_cause(problem)}): correct it, or name another."


def _login_command(context: str | None, kubeconfig: str | None) -> str:
    merged = KubeConfigMerger(kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION).config  # type: ignore[no-untyped-call]
    chosen = merged["contexts"].get_with_name(context or merged["current-context"])
    user = merged["users"].get_with_name(chosen["context"]["user"])["user"]
    return f"«{_words(str(user['exec'].safe_get('command')))}»"


def _cause(problem: Exception) -> str:
    if isinstance(problem, yaml.MarkedYAMLError) and problem.problem_mark is not None:
        mark = problem.problem_mark
        return _words(f"{problem.problem} in {mark.name}, line {mark.line + 1}")
    if isinstance(problem, OSError) and problem.strerror:
        return _words(f"{problem.filename}: {problem.strerror}")
    if isinstance(problem, (AttributeError, KeyError, TypeError)):
        return "it has not the form of a kubeconfig"
    return _words(str(problem))


def _words(text: str) -> str:
    """Put what others said on one line of bounded length, without what only a library means by it."""
    return printable(shorten(_OF_THE_LIBRARY.sub("", " ".join(text.split()))))
