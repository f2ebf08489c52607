"""Whose a Secret is: ours, or that of a tool or a person who did not ask for it to be taken over.

A serving Secret is ours by its labels. Whoever wants another one to be taken over says so on that very Secret, by the
annotation `mailtls.dev/adopt: "true"`; nothing else lets us write it.
"""

from collections.abc import Callable
from typing import Final

from mailtls.api.reading.document import Json
from mailtls.api.resource import ADOPT, ADOPTED, MANAGED_BY, MANAGER, OWNER, annotations_of, belongs_to
from mailtls.api.spec import Desired
from mailtls.kube.pairs import certificate_of, read_pair
from mailtls.kube.snapshot import ServingSecret, Source
from mailtls.reasons.quoting import printable, shorten
from mailtls.reasons.reason import Finding, Reason

SERVING_TYPE: Final = "kubernetes.io/tls"
_PEOPLE: Final = ("kubectl", "k9s", "lens", "headlamp", "dashboard", "Mozilla", "openlens")


def is_requested(secret: Json) -> bool:
    """Whether somebody asked on the Secret that we take it over, or the very certificate that is in it.

    In a Secret that is ours already only the latter counts: what was asked for once must not let everything in later.
    """
    asked = annotations_of(secret).get(ADOPT, "")
    if asked == "true":
        return not is_labelled(secret)
    certificate = certificate_of(secret) if asked else None
    return certificate is not None and asked.replace(":", "").lower() == certificate.sha256


def is_vouched_for(secret: Json) -> bool:
    """Whether a person has named on the Secret the very certificate that is in it."""
    asked, certificate = annotations_of(secret).get(ADOPT, ""), certificate_of(secret)
    return certificate is not None and asked.replace(":", "").lower() == certificate.sha256


def is_labelled(secret: Json) -> bool:
    """Whether a serving Secret has our labels; of which resource they are does not matter, for it may be renamed."""
    return _labels(secret).get(MANAGED_BY) == MANAGER and bool(_labels(secret).get(OWNER))


def serving_fault(secret: Json, desired: Desired, *, is_ours: bool) -> Finding | None:
    """Say why the Secret of `spec.secretName` must not be written; None where it may be."""
    name = desired.secret_name
    if secret.get("immutable"):
        return immutable(name)
    if secret.get("type") != SERVING_TYPE:
        return _not_owned(
            f"Secret {name} is of type {secret.get('type')}, which cannot be changed to {SERVING_TYPE}; "
            "delete it or choose another secretName."
        )
    keeper = _tool(secret)
    if is_requested(secret) or (is_ours and (not keeper or _was_adopted(secret))):
        return None
    return _not_owned(f"Secret {name} {keeper or _kept_by_hand(secret)}. {_ways_out(secret, name)}")


def owned_fault(secret: Json, desired: Desired, name: str) -> Finding | None:
    """Say why a Secret with the name of a staged or previous one must not be written or believed; None: it may be."""
    if belongs_to(secret, desired.key, desired.uid):
        return immutable(name) if secret.get("immutable") else None
    if belongs_to(secret, desired.key):
        return Finding(
            Reason.PENDING,
            f"Secret {name} is of an earlier MailServerTLS of this name; the garbage collector of Kubernetes removes "
            "it in a moment.",
        )
    if may_be_taken(secret):
        return None
    keeper = _tool(secret) or _kept_by_hand(secret)
    advice = f"This resource keeps its own data under that name. {_ways_out(secret, desired.secret_name)}"
    return _not_owned(f"Secret {name} {keeper}. {advice}")


def may_be_taken(secret: Json) -> bool:
    """Whether a Secret in the place of a staged or previous one may be written over: asked for, and of their type."""
    return (
        annotations_of(secret).get(ADOPT) == "true"
        and secret.get("type", "Opaque") == "Opaque"
        and not secret.get("immutable")
    )


def _was_adopted(secret: Json) -> bool:
    return ADOPTED in annotations_of(secret) or annotations_of(secret).get(ADOPT) == "true"


def immutable(name: str) -> Finding:
    """Say that nobody can write a Secret any more, the operator neither."""
    message = (
        f"Secret {name} has immutable: true, so no new certificate can be written into it. Choose another secretName "
        f"and mount that one; or have it made anew by kubectl delete secret {name}, and then scale what mounts it to "
        "zero and back, as a kubelet keeps the old content while any pod mounts it."
    )
    return Finding(Reason.SECRET_IMMUTABLE, message)


def _not_owned(message: str) -> Finding:
    return Finding(Reason.SECRET_NOT_OWNED, message)


def _ways_out(secret: Json, secret_name: str) -> str:
    name = secret["metadata"].get("name", secret_name)
    return (
        f"Choose another secretName than {secret_name}, or let mailtls take Secret {name} over: "
        f"kubectl annotate secret {name} {ADOPT}=true."
    )


def _tool(secret: Json) -> str:
    """Say which tool keeps a Secret, as the end of a sentence; empty where none left a mark."""
    return next((said for mark in _MARKS if (said := mark(secret))), "")


def _cert_manager(secret: Json) -> str:
    found = annotations_of(secret).get("cert-manager.io/certificate-name")
    if found:
        return f"is kept by cert-manager (Certificate {found})"
    marks = (*annotations_of(secret), *_labels(secret))
    return "is kept by cert-manager" if any("cert-manager.io/" in name for name in marks) else ""


def _external_secrets(secret: Json) -> str:
    marks = (*annotations_of(secret), *_labels(secret))
    is_marked = any("external-secrets.io/" in name for name in marks)
    return "is kept by External Secrets" if is_marked else ""


def _argo(secret: Json) -> str:
    app = annotations_of(secret).get("argocd.argoproj.io/tracking-id", "").partition(":")[0]
    app = app or _labels(secret).get("argocd.argoproj.io/instance", "")
    if not app and any("argocd" in manager for manager in managers(secret)):
        app = _labels(secret).get("app.kubernetes.io/instance", "")
    return f"is kept by Argo CD (application {app})" if app else ""


def _flux(secret: Json) -> str:
    found = (name for name in _labels(secret) if name.endswith("toolkit.fluxcd.io/name"))
    label = next(found, None)
    return f"is kept by Flux ({_labels(secret)[label]})" if label else ""


def _helm(secret: Json) -> str:
    name = annotations_of(secret).get("meta.helm.sh/release-name")
    if name:
        return f"is kept by Helm (release {name})"
    return "is kept by Helm" if _labels(secret).get(MANAGED_BY) == "Helm" else ""


def _controller(secret: Json) -> str:
    """A Secret with a controller goes when that one goes, whatever we write into it."""
    references = secret["metadata"].get("ownerReferences") or ()
    return next((f"is kept by {each.get('kind')} {each.get('name')}" for each in references), "")


def _named_manager(secret: Json) -> str:
    """The well-known label says who manages an object; ours with the owner's label is no mark of somebody else."""
    value = _labels(secret).get(MANAGED_BY)
    return f"is kept by {value}" if value and value != MANAGER else ""


_MARKS: Final[tuple[Callable[[Json], str], ...]] = (
    _cert_manager,
    _external_secrets,
    _argo,
    _flux,
    _helm,
    _controller,
    _named_manager,
)


def _kept_by_hand(secret: Json) -> str:
    """Say who wrote a Secret that no tool marked; one of ours has no owner after `kubectl delete --cascade=orphan`."""
    if is_labelled(secret):
        return f"was made for MailServerTLS {_labels(secret)[OWNER]}, and is not owned by it any more"
    writer = writer_of(secret)
    if writer is None:
        return "was made by somebody else"
    is_person = writer.startswith(_PEOPLE)
    return (
        f"was made by a person (with {writer})" if is_person else f"was made by somebody else (field manager {writer})"
    )


def read_external(secret: Json) -> ServingSecret:
    """Read a pair that somebody else keeps; what its annotations say of ours means nothing there."""
    found, meta = read_pair(secret), secret["metadata"]
    return ServingSecret(
        certificate=found.certificate,
        key_spki_sha256=found.key_spki_sha256,
        name=meta["name"],
        uid=meta.get("uid"),
        resource_version=found.resource_version,
        made_at=found.made_at,
        writer=writer_of(secret),
        source=source_of(secret),
        is_vouched_for=is_vouched_for(secret),
        is_immutable=bool(secret.get("immutable")),
    )


def source_of(secret: Json) -> Source:
    """Say who keeps a Secret that is somebody else's by the spec, by the marks of tools and the recorded managers."""
    name, notes = secret["metadata"].get("name", ""), annotations_of(secret)
    if _cert_manager(secret):
        given = ((each, notes.get(f"cert-manager.io/{key}")) for each, key in _OF_CERT_MANAGER)
        words = ", ".join(f"{kind} {_shown(value)}" for kind, value in given if value)
        advice = f"See why: kubectl describe certificate {_shown(notes.get(_CERTIFICATE, ''))}".rstrip()
        return Source(f"cert-manager ({words})" if words else "cert-manager", f"{advice}.")
    if _external_secrets(secret):
        found = _external_secret(secret)
        words = f"External Secrets (ExternalSecret {found})" if found else "External Secrets"
        return Source(words, f"See why: kubectl describe externalsecret {found}".rstrip() + ".")
    # Not -o yaml: that would print the private key, for people to paste into tickets.
    ours, who = is_labelled(secret), f"kubectl get secret {name} -o jsonpath='{{.metadata.managedFields[*].manager}}'"
    tool = _tool(secret).removeprefix("is kept by ") or (f"MailServerTLS {_labels(secret)[OWNER]}" if ours else "")
    if tool:
        return Source(_shown(tool), f"Look there, or find out who wrote it last: {who}.")
    writer = writer_of(secret)
    if writer is None:
        return Source(advice=f"Find out who writes the Secret: {who}.")
    if writer.startswith(_PEOPLE):
        return Source(
            f"a person (with {_shown(writer)})", f"Put the new pair in: kubectl create secret tls {name} {_BY_HAND}."
        )
    return Source(f"field manager {_shown(writer)}", f"Find out who that is: {who}.")


def _external_secret(secret: Json) -> str:
    """The ExternalSecret that writes a Secret: its owner, or else the name in its field manager."""
    owners = (each.get("name") for each in secret["metadata"].get("ownerReferences") or () if each.get("kind") == _KIND)
    writers = (each.removeprefix(_WRITER) for each in managers(secret) if each.startswith(_WRITER))
    return _shown(next((str(each) for each in (*owners, *writers) if each and "/" not in str(each)), ""))


_KIND: Final = "ExternalSecret"
_WRITER: Final = "externalsecrets.external-secrets.io/"
_CERTIFICATE: Final = "cert-manager.io/certificate-name"
_OF_CERT_MANAGER: Final = (("Certificate", "certificate-name"), ("issuer", "issuer-name"))
# Applied by the client, the key would stand in an annotation as well.
_PAIR: Final = "--cert=fullchain.pem --key=privkey.pem"
_BY_HAND: Final = f"{_PAIR} --dry-run=client -o yaml | kubectl apply --server-side --force-conflicts -f -"


def _shown(text: str) -> str:
    """A text that anybody may have written, fit for a message."""
    return shorten(printable(text), 80)


def writer_of(secret: Json) -> str | None:
    """Return the field manager besides us that wrote the data last, as recorded; None where nobody is recorded."""
    recorded = secret["metadata"].get("managedFields") or ()
    entries = [each for each in recorded if each.get("manager") not in {None, "", MANAGER}]
    data = [each for each in entries if "f:data" in (each.get("fieldsV1") or {})]
    newest = max(data or entries, key=lambda each: str(each.get("time", "")), default=None)
    return str(newest["manager"]) if newest else None


def managers(secret: Json) -> tuple[str, ...]:
    """Return the field managers that are recorded."""
    return tuple(str(each.get("manager")) for each in secret["metadata"].get("managedFields") or ())


def _labels(secret: Json) -> dict[str, str]:
    return secret["metadata"].get("labels") or {}
