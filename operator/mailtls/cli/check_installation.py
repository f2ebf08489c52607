"""`mailtls check-installation`: whether the operator has all that it needs, looked at as the operator itself.

`helm test` runs it in a pod with the operator's account, settings and image. It issues nothing and changes nothing:
the only objects that it makes are access reviews, which the API server answers and does not keep.
"""

import http.client
import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mailtls.api.resource import API, PLURAL
from mailtls.cli.errors import unusable
from mailtls.cli.results import Line, Verdict, bad, doubtful, exit_code, good, unseen
from mailtls.kube.interface import ApiError, Cluster, Unreachable
from mailtls.reasons.quoting import shorten
from mailtls.reasons.reason import Finding, Reason

if TYPE_CHECKING:
    from mailtls.settings import Settings

_HTTP_TIMEOUT: Final = 10.0  # seconds
_MOST_METRICS: Final = 4 << 20  # bytes that are read
_HTTP_OK: Final = 200
_ELSEWHERE: Final = "This command runs in the operator's pod: use `helm test mailtls --namespace mailtls --logs`."


def check_installation(
    metrics: Annotated[
        str | None, typer.Option(help="HOST:PORT where the operator's metrics are, to see that they are served.")
    ] = None,
) -> None:
    """In the operator's pod: say whether CRD, rights, leader and metrics are as they should be; `helm test` runs this.

    It takes the settings and the account of the operator's pod, and issues nothing.
    """
    from mailtls.cli.output.words import preflight_line
    from mailtls.kube.client import KubernetesCluster
    from mailtls.kube.login import NotConfigured, configure
    from mailtls.settings import InvalidSettings, Settings

    try:
        settings = Settings.from_environment(os.environ)
        cluster = KubernetesCluster(partial(configure, None, settings.kubeconfig))
    except (InvalidSettings, NotConfigured) as problem:
        raise unusable(f"{problem} {_ELSEWHERE}") from None
    lines = tuple(installation_lines(cluster, settings, metrics, datetime.now(UTC)))
    for line in lines:
        typer.echo(preflight_line(line))
    raise typer.Exit(exit_code(lines))


def installation_lines(cluster: Cluster, settings: "Settings", metrics: str | None, now: datetime) -> Iterator[Line]:
    """Look at each part in turn; one that cannot be seen does not keep the others from being looked at."""
    parts = (
        ("CRD", partial(_crd, cluster)),
        ("rights", partial(_rights, cluster, settings)),
        ("leader", partial(_leader, cluster, settings, now)),
    )
    for topic, look in parts:
        try:
            yield look()
        except ApiError as refusal:
            yield unseen(topic, f"The API server refused: {shorten(refusal.message)}")
        except Unreachable as failure:
            yield unseen(topic, f"The API server could not be reached: {shorten(str(failure))}")
    if metrics is not None:
        yield _metrics(metrics)


def _failing(topic: str, message: str) -> Line:
    return Line(topic, Verdict.FAIL, message)


def _crd(cluster: Cluster) -> Line:
    known = cluster.get(API)
    if known is None or PLURAL not in {each.get("name") for each in known.get("resources") or ()}:
        message = "The API server does not know MailServerTLS: install the chart with crds.enabled, or apply crds/."
        return _failing("CRD", message)
    return good("CRD", "The API server knows MailServerTLS.")


def _rights(cluster: Cluster, settings: "Settings") -> Line:
    from mailtls.kube.rights import granted, granted_at_home, lacks_itself

    off, served = settings.disabled_features.off, settings.watch_namespaces
    needed = granted(off)
    lacking = [
        f"{right}{f' in {namespace}' if namespace else ''}"
        for namespace in served or ("",)
        for right in lacks_itself(cluster, namespace, needed)
    ]
    own = granted_at_home(off, has_http01=settings.http01_service is not None)
    lacking += [f"{right} in {settings.namespace}" for right in lacks_itself(cluster, settings.namespace, own)]
    if lacking:
        message = (
            f"The operator lacks the rights to {'; '.join(lacking)}: grant them as docs/reference/rbac.md lists them."
        )
        return bad("rights", Finding(Reason.FORBIDDEN, message))
    where = f"the namespaces {', '.join(served)}" if served else "all namespaces"
    return good("rights", f"All {len(needed) + len(own)} rights that the operator needs are granted, in {where}.")


def _leader(cluster: Cluster, settings: "Settings", now: datetime) -> Line:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{settings.namespace}/leases/{settings.lease}"
    spec = (cluster.get(path) or {}).get("spec") or {}
    holder, renewed = spec.get("holderIdentity"), spec.get("renewTime")
    if not holder or not renewed:
        return _failing("leader", "No replica leads: see the log of the operator's pods.")
    age = now - datetime.fromisoformat(renewed)
    if age > timedelta(seconds=spec.get("leaseDurationSeconds") or 0):
        seconds = age / timedelta(seconds=1)
        return doubtful("leader", f"{shorten(holder)} led last, {seconds:.0f} seconds ago; is a replica running?")
    return good("leader", f"{shorten(holder)} leads.")


def _metrics(place: str) -> Line:
    host, _, port = place.rpartition(":")
    try:
        with closing(http.client.HTTPConnection(host, int(port), timeout=_HTTP_TIMEOUT)) as connection:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            text = answer.read(_MOST_METRICS)
    except (OSError, ValueError, http.client.HTTPException) as failure:
        message = f"http://{shorten(place)}/metrics does not answer: {shorten(str(failure) or type(failure).__name__)}"
        return _failing("metrics", message)
    if answer.status != _HTTP_OK or b"mailtls_leader" not in text:
        message = f"http://{shorten(place)}/metrics answers with {answer.status}, and not with the operator's metrics."
        return _failing("metrics", message)
    return good("metrics", f"http://{place}/metrics is served.")
