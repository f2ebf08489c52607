"""Who keeps a Secret that is somebody else's: by the marks that tools leave, else by who wrote it last."""

from typing import Any

import pytest

from builders.authority import Authority, Issued, cert_manager_secret
from mailtls.api.reading.document import Json
from mailtls.kube.ownership import read_external, source_of

OURS = {"mailtls.dev/acme-server": "https://ca.test/directory", "mailtls.dev/renew-handled": "1"}


def written(manager: str | None = None, **meta: Any) -> Json:
    """A Secret without a pair, with these metadata."""
    fields = [{"manager": manager, "fieldsV1": {"f:data": {}}, "time": "2026-05-01T12:00:00Z"}] if manager else []
    return {"metadata": {"name": "mx-tls", "namespace": "mail", "managedFields": fields, **meta}}


WRITERS = "kubectl get secret mx-tls -o jsonpath='{.metadata.managedFields[*].manager}'"


@pytest.mark.parametrize(
    ("secret", "words", "advice"),
    [
        (
            cert_manager_secret("mail", "mx-tls", Issued("", "", "")),
            "cert-manager (Certificate mx-cert, issuer letsencrypt)",
            "See why: kubectl describe certificate mx-cert.",
        ),
        (
            written(labels={"reconcile.external-secrets.io/managed": "true"}),
            "External Secrets",
            "See why: kubectl describe externalsecret.",
        ),
        (
            written("externalsecrets.external-secrets.io/mx", labels={"reconcile.external-secrets.io/managed": "true"}),
            "External Secrets (ExternalSecret mx)",
            "See why: kubectl describe externalsecret mx.",
        ),
        (
            written(
                "externalsecrets.external-secrets.io/sha3/0a1b",
                labels={"reconcile.external-secrets.io/managed": "true"},
                ownerReferences=[{"kind": "ExternalSecret", "name": "with-a-long-name"}],
            ),
            "External Secrets (ExternalSecret with-a-long-name)",
            "See why: kubectl describe externalsecret with-a-long-name.",
        ),
        (
            written(labels={"app.kubernetes.io/managed-by": "mailtls", "mailtls.dev/owner": "mx-a"}),
            "MailServerTLS mx-a",
            f"Look there, or find out who wrote it last: {WRITERS}.",
        ),
        (
            written(annotations={"meta.helm.sh/release-name": "mail"}),
            "Helm (release mail)",
            f"Look there, or find out who wrote it last: {WRITERS}.",
        ),
        (written("kubectl-create"), "a person (with kubectl-create)", "Put the new pair in: kubectl create secret tls"),
        (written("lego"), "field manager lego", "Find out who that is: kubectl get secret mx-tls"),
        (written(), "somebody else", "Find out who writes the Secret: kubectl get secret mx-tls"),
    ],
)
def test_source_is_named_with_where_to_look(secret: Json, words: str, advice: str) -> None:
    """The words fit into a sentence, and the advice is one of its own."""
    found = source_of(secret)
    assert found.words == words
    assert found.advice.startswith(advice)
    assert found.advice.endswith(".")


def test_source_of_a_tenant_floods_no_message() -> None:
    """Annotations are anybody's: what is in them is shortened, and shown without control characters."""
    secret = cert_manager_secret("mail", "mx-tls", Issued("", "", ""))
    secret["metadata"]["annotations"]["cert-manager.io/certificate-name"] = "\x1b[2J" + "x" * 5000
    assert "\x1b" not in source_of(secret).words
    assert len(source_of(secret).words) < 200


def test_what_the_annotations_say_of_ours_means_nothing() -> None:
    """A Secret that we once wrote, or that copies our marks, is as much somebody else's as any other."""
    secret = cert_manager_secret("mail", "mx-tls", Authority().issue("mx.example.test"))
    secret["metadata"]["annotations"] |= OURS
    secret["metadata"]["labels"] |= {"app.kubernetes.io/managed-by": "mailtls", "mailtls.dev/owner": "mx"}
    found = read_external(secret)
    assert found.certificate is not None
    assert found.key is None, "the key is nothing that anybody here needs"
    assert (found.is_ours, found.acme_server, found.handled_renew) == (False, None, None)


def test_person_vouches_for_the_very_certificate_alone() -> None:
    """The fingerprint counts, and no general word."""
    issued = Authority().issue("mx.example.test")
    secret = cert_manager_secret("mail", "mx-tls", issued)
    for value, counts in (("true", False), (issued.sha256, True), (issued.sha256.upper(), True), ("00" * 32, False)):
        secret["metadata"]["annotations"]["mailtls.dev/adopt"] = value
        assert read_external(secret).is_vouched_for is counts
