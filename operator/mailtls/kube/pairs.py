"""How a certificate and its key stand in a Secret, with their origin and the requests that were handled."""

import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from mailtls.api.reading.document import Json
from mailtls.api.resource import (
    ACME_PROFILE,
    ACME_SERVER,
    ADOPTED,
    GROUP,
    NAMES_ASKED,
    OF_PREVIOUS,
    ORDER,
    RENEW_HANDLED,
    ROLLBACK_HANDLED,
    ROLLED_BACK,
    ROOTS_OFFERED,
    VERIFIED,
    VERSION,
    annotations_of,
    labels_of,
)
from mailtls.api.spec import Desired
from mailtls.kube.snapshot import Hold, Refused, ServingSecret
from mailtls.pki.certificate import Certificate, KeyMaterial, parse_chain
from mailtls.reasons.quoting import printable, shorten

# No object ever has it, for the store begins with it: to apply with it makes an object, and never changes one.
NOBODYS_VERSION = "1"
MOST_WORDS = 700
"""Characters of why a certificate was rolled back: a message of a condition stays readable."""


def path(namespace: str, name: str | None = None) -> str:
    """URL path of a Secret, or of all Secrets of a namespace."""
    place = f"/api/v1/namespaces/{namespace}/secrets"
    return f"{place}/{name}" if name else place


def previous_name(desired: Desired) -> str:
    """Name the Secret with the pair that served before."""
    return f"{desired.secret_name}-previous"


def read_pair(secret: Json) -> ServingSecret:
    """Read what a Secret holds; a fault in it is a value, never an exception."""
    notes, public_hash = annotations_of(secret), _public_hash(secret)
    return ServingSecret(
        certificate=certificate_of(secret),
        key_spki_sha256=public_hash,
        acme_server=notes.get(ACME_SERVER),
        profile=notes.get(ACME_PROFILE),
        handled_renew=notes.get(RENEW_HANDLED),
        handled_rollback=notes.get(ROLLBACK_HANDLED),
        hold=_hold(notes.get(ROLLED_BACK)),
        adopted=notes.get(ADOPTED),
        order_seal=notes.get(ORDER),
        key=KeyMaterial(entry(secret, "tls.key")) if public_hash else None,
        resource_version=secret["metadata"].get("resourceVersion"),
        made_at=made_at(secret),
        is_verified=notes.get(VERIFIED) == "true",
    )


def made_at(secret: Json) -> datetime | None:
    """Read when the Secret came to be."""
    written = secret["metadata"].get("creationTimestamp")
    return datetime.fromisoformat(written) if written else None


def written(pair: ServingSecret, saved: Json) -> ServingSecret:
    """Read a pair as it is in the Secret that the API server has."""
    meta = saved["metadata"]
    return replace(
        pair,
        name=meta["name"],
        uid=meta.get("uid"),
        resource_version=meta.get("resourceVersion"),
        made_at=made_at(saved),
        is_ours=True,
        lacks_labels=False,
    )


def is_whole(pair: ServingSecret) -> bool:
    """Whether there is a certificate, and its own key."""
    certificate, key = pair.certificate, pair.key
    return certificate is not None and key is not None and certificate.spki_sha256 == pair.key_spki_sha256


def serving_json(desired: Desired, pair: ServingSecret) -> Json:
    """Write the Secret that pods mount; `pair` is whole."""
    body = secret_json(desired, desired.secret_name, _data(pair), owned=False)
    body["metadata"]["annotations"] = _notes(pair)
    return body


def previous_json(desired: Desired, pair: ServingSecret) -> Json:
    """Write the Secret that keeps a whole pair, and where it came from."""
    body = secret_json(desired, previous_name(desired), _data(pair), owned=True)
    notes = _notes(pair) | ({VERIFIED: "true"} if pair.is_verified else {})
    body["metadata"]["annotations"] = {name: note for name, note in notes.items() if name in OF_PREVIOUS}
    return body


def secret_json(desired: Desired, name: str, data: dict[str, str], *, owned: bool) -> Json:
    """Write a Secret of the resource; those that are owned go with it, and no pod mounts them."""
    metadata: Json = {
        "name": name,
        "namespace": desired.key.namespace,
        "labels": labels_of(desired.key),
    }
    if owned:
        owner = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "MailServerTLS", "controller": True}
        metadata["ownerReferences"] = [owner | {"name": desired.key.name, "uid": desired.uid}]
    kind = "Opaque" if owned else "kubernetes.io/tls"
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata, "data": data}


def encoded(text: str) -> str:
    """Write a text as the data of a Secret."""
    return b64encode(text.encode()).decode()


def read_json(text: str | bytes) -> Any:
    """Read JSON that anybody may have written: UTF-8 (RFC 8259 section 8.1), and no deeper than anybody means.

    Raises ValueError for what is none; deep nesting alone would raise what no reader of a Secret expects.
    """
    try:
        return json.loads(text if isinstance(text, str) else text.decode())
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def entry(secret: Json, name: str) -> bytes:
    """Read an entry of a Secret; raises KeyError or ValueError where there is none."""
    return b64decode((secret.get("data") or {})[name])


def certificate_of(secret: Json) -> Certificate | None:
    """Read the certificate of a Secret, None where there is none that can be read."""
    try:
        certificate = parse_chain(entry(secret, "tls.crt").decode())
        asked = frozenset(_texts(secret, NAMES_ASKED))
        return replace(certificate, roots_offered=_texts(secret, ROOTS_OFFERED), names_asked=asked)
    except (ValueError, KeyError, Base64Error):
        return None


def _data(pair: ServingSecret) -> dict[str, str]:
    if pair.certificate is None or pair.key is None:
        raise AssertionError("only a whole pair is written")
    return {"tls.crt": encoded(pair.certificate.chain_pem), "tls.key": b64encode(pair.key.pem).decode()}


def _notes(pair: ServingSecret) -> dict[str, str]:
    offered, hold = pair.certificate.roots_offered if pair.certificate else (), pair.hold
    asked = sorted(pair.certificate.names_asked) if pair.certificate else []
    notes = {
        ACME_SERVER: pair.acme_server,
        ACME_PROFILE: pair.profile,
        RENEW_HANDLED: pair.handled_renew,
        ROLLBACK_HANDLED: pair.handled_rollback,
        ROLLED_BACK: json.dumps(_hold_json(hold)) if hold else None,
        ROOTS_OFFERED: json.dumps(offered) if offered else None,
        NAMES_ASKED: json.dumps(asked) if asked else None,
        ADOPTED: pair.adopted,
        ORDER: pair.order_seal,
    }
    return {name: value for name, value in notes.items() if value is not None}


def _hold_json(hold: Hold) -> Json:
    written: Json = {"until": hold.until.isoformat(), "generation": hold.generation}
    if (of := hold.refused) is not None:
        written["refused"] = {
            "sha256": of.sha256,
            "serial": of.serial_number,
            "why": of.why,
            "at": of.at.isoformat(),
            "times": of.times,
        }
    return written


def _hold(note: str | None) -> Hold | None:
    try:
        written = read_json(note or "null")
        refused = _refused(written["refused"]) if "refused" in written else None
        return Hold(_moment(written["until"]), int(written["generation"]), refused)
    except (ValueError, KeyError, TypeError, OverflowError):
        return None  # somebody edited it: then nothing is held


def _refused(written: Json) -> Refused:
    sha256, serial, why = (shorten(printable(str(written[name])), MOST_WORDS) for name in ("sha256", "serial", "why"))
    return Refused(sha256, serial, why, _moment(written["at"]), max(1, int(written["times"])))


def _moment(written: str) -> datetime:
    return datetime.fromisoformat(written).astimezone(UTC)


def _texts(secret: Json, note: str) -> tuple[str, ...]:
    text = annotations_of(secret).get(note, "[]")
    try:
        return tuple(map(str, read_json(text)))
    except (ValueError, TypeError):
        return ()  # somebody edited it


def _public_hash(secret: Json) -> str | None:
    try:
        return KeyMaterial(entry(secret, "tls.key")).spki_sha256()
    except (ValueError, KeyError, Base64Error):
        return None


def pair_of(desired: Desired, certificate: Certificate, key: KeyMaterial, before: ServingSecret) -> ServingSecret:
    """A certificate that was just issued, as it is stored in the place of what was there before."""
    return ServingSecret(
        certificate=certificate,
        key_spki_sha256=key.spki_sha256(),
        acme_server=desired.acme.server,
        profile=desired.acme.profile,
        handled_renew=desired.renew_requested,
        handled_rollback=desired.rollback_requested,
        adopted=_taken_from(before),
        key=key,
    )


def _taken_from(before: ServingSecret) -> str | None:
    """Remember that the Secret was somebody else's, and which leaf was in it then: marks of that one may stay on it."""
    if before.is_ours or not before.exists or not before.is_requested:
        return before.adopted
    return before.certificate.sha256 if before.certificate else "none"
