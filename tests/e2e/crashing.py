"""The operator, made to die: by SIGKILL, in the middle of its work, right before or right after one effect.

Run as `python -m e2e.crashing`. Nothing in the operator knows of it: the few methods through which all effects on the
outside go are wrapped in this process, and everything else is the real thing.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any

from mailtls.__main__ import main
from mailtls.api.resource import ROLLED_BACK
from mailtls.issuance import bootstrap
from mailtls.issuance.acme.network import Network, RequestKind
from mailtls.issuance.solvers.rfc2136 import Rfc2136Records
from mailtls.kube.client import KubernetesCluster
from mailtls.kube.pairs import NOBODYS_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

EFFECT, MOMENT, AGES_IN = "CRASH_EFFECT", "CRASH_MOMENT", "CRASH_PLACEHOLDER_AGES_IN"
BEFORE, AFTER = "before", "after"
RELOAD = "postfix reload"  # ends the preset's command, which is behind `timeout` and its options
SECOND_RELOAD = ("doveadm", "reload")


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that the operator does to the outside: a method, and how to know its call by the arguments."""

    owner: type
    method: str
    is_it: Callable[[tuple[Any, ...]], bool]


def _acme(kind: RequestKind) -> Effect:
    """A request to the CA; after it means that the CA has answered and nobody has read the answer."""
    return Effect(Network, "send", lambda args: args[2] is kind)


def _write(method: str, is_it: Callable[[str, Any], bool]) -> Effect:
    """A write to the API server, by path and body."""
    return Effect(KubernetesCluster, method, lambda args: is_it(args[0], args[1]))


def _notes(body: Any) -> Any:
    return body["metadata"].get("annotations") or {}


def _is_there(body: Any) -> bool:
    return bool(body["metadata"]["resourceVersion"] != NOBODYS_VERSION)


def _any(_args: tuple[Any, ...]) -> bool:
    return True


EFFECTS = {
    "account-key": _write("create", lambda _path, body: body["metadata"].get("name", "").startswith("mailtls-account")),
    "account": _acme(RequestKind.NEW_ACCOUNT),
    "account-url": _write("merge", lambda path, _body: "/mailtls-account" in path),
    "staged-key": _write("create", lambda _path, body: body["metadata"].get("name", "").endswith("-next")),
    "order": _acme(RequestKind.NEW_ORDER),
    "order-url": _write("merge", lambda path, body: path.endswith("-next") and "finalizers" not in body["metadata"]),
    "authorization": _acme(RequestKind.AUTHORIZATION),
    "present": Effect(Rfc2136Records, "present", _any),
    "validation": _acme(RequestKind.CHALLENGE),
    "finalize": _acme(RequestKind.FINALIZE),
    "download": _acme(RequestKind.CERTIFICATE),
    "previous": _write("apply", lambda path, _body: path.endswith("-previous")),
    "secret": _write("apply", lambda path, _body: path.endswith("/secrets/mx-tls")),
    "written-again": _write("apply", lambda path, body: path.endswith("/secrets/mx-tls") and _is_there(body)),
    "go-back": _write("apply", lambda path, body: path.endswith("/secrets/mx-tls") and ROLLED_BACK in _notes(body)),
    "clean-up": Effect(Rfc2136Records, "remove", _any),
    "close": _write("merge", lambda path, body: path.endswith("-next") and "finalizers" in body["metadata"]),
    "wake": _write("merge", lambda path, _body: "/pods/" in path),
    "reload": Effect(KubernetesCluster, "execute", lambda args: args[3][-1].endswith(RELOAD)),
    "second-reload": Effect(KubernetesCluster, "execute", lambda args: args[3][-2:] == SECOND_RELOAD),
    "status": Effect(KubernetesCluster, "report", _any),
    "event": _write("create", lambda path, _body: path.endswith("/events")),
}


def doom(effect: Effect, moment: str) -> None:
    """Die at the first call that is the effect."""
    real = getattr(effect.owner, effect.method)

    @wraps(real)
    def doomed(self: Any, *args: Any, **options: Any) -> Any:
        is_it = effect.is_it(args)
        if is_it and moment == BEFORE:
            _die()
        result = real(self, *args, **options)
        if is_it and moment == AFTER:
            _die()
        return result

    setattr(effect.owner, effect.method, doomed)


def age_placeholders(seconds: int) -> None:
    """Have a placeholder be made anew so many seconds after it was made."""
    bootstrap.REMADE_BEFORE = bootstrap.LIFETIME - timedelta(seconds=seconds)  # type: ignore[misc]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    if AGES_IN in os.environ:
        age_placeholders(int(os.environ[AGES_IN]))
    doom(EFFECTS[os.environ[EFFECT]], os.environ[MOMENT])
    main()
