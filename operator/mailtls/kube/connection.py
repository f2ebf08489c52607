"""Where the API server is and how to prove who we are: from the pod's service account or a kubeconfig."""

import ssl
from pathlib import Path
from typing import Any

import yaml
from kubernetes import config
from kubernetes.client import Configuration

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
CONNECTIONS = 64  # more than threads ever use, so that no connection is thrown away
# The loader trusts the file to be what it should be: anything else falls over somewhere in it.
_UNUSABLE = (config.ConfigException, OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError)


class NotConfigured(Exception):
    """Neither a service account nor a usable kubeconfig was found; the message says what to do."""


def configure(context: str | None = None, kubeconfig: str | None = None) -> Any:
    """Load the client's configuration afresh: of what is named, else of the pod, else of the user's kubeconfig.

    `kubeconfig` is a path, or several as in KUBECONFIG. Who names one or a context in a pod means another cluster.
    """
    loaded = Configuration()
    loaded.connection_pool_maxsize = CONNECTIONS
    try:
        if context is None and kubeconfig is None:
            try:
                config.load_incluster_config(client_configuration=loaded)  # type: ignore[no-untyped-call]
            except config.ConfigException:
                config.load_kube_config(client_configuration=loaded)  # type: ignore[no-untyped-call]
        else:
            config.load_kube_config(kubeconfig, context, loaded)  # type: ignore[no-untyped-call]
    except _UNUSABLE as problem:
        raise NotConfigured(
            "No cluster to talk to: there is no service account as in a pod, and no usable kubeconfig"
            f" ({problem}); run in a pod, or set KUBECONFIG."
        ) from problem
    return loaded


def authorization(configuration: Any) -> dict[str, str]:
    """Return the header that proves who we are; short-lived tokens are read again when they are due."""
    headers = {}
    for proof in configuration.auth_settings().values():
        if proof["in"] == "header" and proof["value"]:
            headers[proof["key"]] = proof["value"]
    return headers


def tls_context(configuration: Any) -> ssl.SSLContext:
    """Return what the websocket checks the API server with, and shows it where certificates prove who we are."""
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


def current_namespace(context: str | None = None, kubeconfig: str | None = None) -> str:
    """Return the namespace that is meant where none is named: the context's, or the pod's own."""
    try:
        contexts, active = config.list_kube_config_contexts(kubeconfig)  # type: ignore[no-untyped-call]
    except _UNUSABLE:
        return _NAMESPACE_FILE.read_text().strip() if _NAMESPACE_FILE.exists() else "default"
    chosen = next((each for each in contexts if each["name"] == context), active)
    return str((chosen.get("context") or {}).get("namespace") or "default")
