"""Accounts: their keys in Secrets, their registration at a real Pebble, and what a user may get wrong."""

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from acme.messages import Registration
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fakes.cluster import FakeCluster
from functional.acme_issuing import Client, Issuance, csr_for, issue
from functional.pebble import Options, Pebble, running_pebble
from mailtls.api.reading.document import Json
from mailtls.api.resource import ACCOUNT_URL
from mailtls.api.spec import DataRef, ExternalAccountBinding
from mailtls.issuance.acme.account_secrets import KEY_ENTRY, secret_name
from mailtls.issuance.acme.network import RequestKind
from mailtls.issuance.acme.problem import AcmeProblem
from mailtls.issuance.acme.session import Identity
from mailtls.issuance.order_state import Status
from mailtls.kube.interface import Unreachable
from mailtls.reasons.reason import Reason

pytestmark = pytest.mark.pebble

_HMAC = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
_SECRETS = "/api/v1/namespaces/mail/secrets"


@pytest.fixture(scope="module")
def pebble() -> Iterator[Pebble]:
    """A Pebble that believes every proof."""
    with running_pebble() as running:
        yield running


@pytest.fixture(scope="module")
def binding_pebble() -> Iterator[Pebble]:
    """A Pebble that wants an external account."""
    keys = {"externalAccountBindingRequired": True, "externalAccountMACKeys": {"kid-1": _HMAC}}
    with running_pebble(Options(config=keys)) as running:
        yield running


def _secret(name: str, **data: bytes) -> Json:
    encoded = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}
    return {"metadata": {"name": name}, "data": encoded}


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _account_path(client: Client) -> str:
    return f"/api/v1/namespaces/mailtls-system/secrets/{secret_name(client.acme)}"


def test_key_is_saved_before_the_ca_hears_of_it(pebble: Pebble) -> None:
    """The Secret with the key is there before the first request, its URL after registering, with the label."""
    client = Client(pebble)
    account = client.account
    assert client.request_count() == 0
    secret = client.cluster.objects[_account_path(client)]
    assert base64.b64decode(secret["data"][KEY_ENTRY]).startswith(b"-----BEGIN PRIVATE KEY-----")
    assert secret["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "mailtls",
        "mailtls.dev/account-scope": "mailtls-system",
    }
    assert account.url.startswith(f"https://127.0.0.1:{pebble.port}/my-account/")
    saved = client.cluster.objects[_account_path(client)]["metadata"]["annotations"]
    assert saved[ACCOUNT_URL] == account.url
    assert [verb for verb, _ in client.cluster.writes] == ["create", "merge"]


def test_account_of_a_namespace_is_kept_there_and_never_shared(pebble: Pebble) -> None:
    """The same server and address in two namespaces are two accounts at the CA, and the operator's has no Secret."""
    client = Client(pebble)
    urls = {name: client.accounts.of(replace(client.acme, namespace=name)).url for name in ("mail", "evil")}
    assert urls["mail"] != urls["evil"]
    for namespace in urls:
        secret = client.cluster.objects[f"/api/v1/namespaces/{namespace}/secrets/{secret_name(client.acme)}"]
        assert secret["metadata"]["labels"]["mailtls.dev/account-scope"] == namespace
    assert not [path for path in client.cluster.objects if "/mailtls-system/" in path]


def test_authorization_of_one_namespace_is_not_handed_out_to_another() -> None:
    """A CA that reuses valid authorizations of an account asks another namespace for a validation of its own."""
    with running_pebble(Options(authorization_reuse=100)) as reusing:
        client = Client(reusing)
        owner = client.accounts.of(replace(client.acme, namespace="mail"))
        order = owner.new_order(["mx.example.com"])
        assert isinstance(Issuance(owner, order, csr_for(["mx.example.com"]), client.clock).run(), str)
        again = owner.load(owner.new_order(["mx.example.com"]))
        assert [each.status for each in again.authorizations] == [Status.VALID]
        stranger = client.accounts.of(replace(client.acme, namespace="evil"))
        order = stranger.load(stranger.new_order(["mx.example.com"]))
        assert [each.status for each in order.authorizations] == [Status.PENDING]


def test_account_secret_that_was_copied_from_another_namespace_is_not_used(pebble: Pebble) -> None:
    """Its scope tells; otherwise whoever may create Secrets chooses the key of another's account."""
    client = Client(pebble)
    acme = replace(client.acme, namespace="mail")
    assert client.accounts.of(acme).url
    path = f"/api/v1/namespaces/{{}}/secrets/{secret_name(acme)}"
    client.cluster.objects[path.format("evil")] = client.cluster.objects[path.format("mail")]
    with pytest.raises(AcmeProblem, match="lacks the labels") as caught:
        client.accounts.of(replace(acme, namespace="evil"))
    assert caught.value.finding.reason is Reason.CREDENTIALS_MISSING


def test_restarted_operator_does_not_register_again(pebble: Pebble) -> None:
    """A new process logs in with the saved URL and makes no request for it."""
    client = Client(pebble)
    url = client.account.url
    client.restarted()
    issue(client, ["restart.example.com"])
    assert client.account.url == url
    assert {code: client.requests["new-account", code] for code in ("200", "201")} == {"200": 0, "201": 1}


def test_lost_url_leads_to_the_same_account(pebble: Pebble) -> None:
    """When a crash kept the URL from being saved, registering the same key returns the same account."""
    client = Client(pebble)
    url = client.account.url
    del client.cluster.objects[_account_path(client)]["metadata"]["annotations"][ACCOUNT_URL]
    client.restarted()
    assert client.account.url == url
    assert client.requests["new-account", "200"] == 1


def test_sixteen_threads_share_one_account(pebble: Pebble) -> None:
    """All workers get the same account, made and registered once."""
    client = Client(pebble)
    with ThreadPoolExecutor(16) as workers:
        urls = {account.url for account in workers.map(lambda _number: client.account, range(64))}
    assert len(urls) == 1
    assert client.requests["new-account", "201"] == 1
    assert [verb for verb, _ in client.cluster.writes] == ["create", "merge"]


def test_replica_that_loses_the_race_uses_the_winners_key(pebble: Pebble) -> None:
    """Two replicas that create the key's Secret at once end with one key."""

    class LateReader(FakeCluster):
        blind = True

        def get(self, path: str) -> Json | None:
            if self.blind:
                self.blind = False
                return None
            return super().get(path)

    winner = Client(pebble)
    url = winner.account.url
    loser = Client(pebble, cluster=LateReader())
    loser.cluster.objects = winner.cluster.objects
    assert loser.account.url == url


def test_account_url_that_cannot_be_saved_is_no_failure(pebble: Pebble) -> None:
    """The account works although the API server is away when its URL should be saved."""
    client = Client(pebble)
    account = client.account
    client.cluster.is_down = True
    assert account.new_order(["unsaved.example.com"]).url


def test_account_in_memory_outlives_the_api_server(pebble: Pebble) -> None:
    """Orders go on while the API server is away; without an account in memory that is said."""
    client = Client(pebble)
    account = client.account
    client.cluster.is_down = True
    client.clock.advance(timedelta(minutes=5))
    assert client.account is account
    client.restarted()
    with pytest.raises(Unreachable):
        _ = client.account


def test_accounts_are_not_read_for_every_step(pebble: Pebble) -> None:
    """Within half a minute an account is not read again from the API server."""
    client = Client(pebble)
    assert client.account is client.account
    reads = len(client.cluster.reads)
    for _ in range(100):
        assert client.account
    assert len(client.cluster.reads) == reads


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-256", "P-384", "RSA"],
)
def test_key_of_the_user_is_used(pebble: Pebble, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    """A key that the user keeps registers, and its Secret is not written to."""
    client = Client(pebble)
    client.cluster.objects[f"{_SECRETS}/mine"] = _secret("mine", tls_key=_pem(key))
    account = client.accounts.of(replace(client.acme, account_key=DataRef("Secret", "mail", "mine", "tls.key")))
    assert account.new_order(["own.example.com"]).url
    assert client.cluster.writes == []


def test_changed_key_makes_another_account(pebble: Pebble) -> None:
    """When the user replaces the key, the next look sees it."""
    client = Client(pebble)
    acme = replace(client.acme, account_key=DataRef("Secret", "mail", "mine", "tls.key"))
    client.cluster.objects[f"{_SECRETS}/mine"] = _secret("mine", tls_key=_pem(ec.generate_private_key(ec.SECP256R1())))
    first = client.accounts.of(acme).url
    client.cluster.objects[f"{_SECRETS}/mine"] = _secret("mine", tls_key=_pem(ec.generate_private_key(ec.SECP256R1())))
    assert client.accounts.of(acme).url == first
    client.clock.advance(timedelta(minutes=1))
    assert client.accounts.of(acme).url != first


def test_bundle_of_the_resource_is_trusted_once_it_is_right(pebble: Pebble) -> None:
    """A bundle from a ConfigMap is the only trust; a wrong one is refused, a corrected one is seen."""
    client = Client(pebble)
    path = "/api/v1/namespaces/mail/configmaps/roots"
    with running_pebble() as other:
        client.cluster.objects[path] = {"metadata": {"name": "roots"}, "data": {"ca.crt": other.roots_pem}}
    acme = replace(client.acme, ca_bundle=DataRef("ConfigMap", "mail", "roots", "ca.crt"))
    with pytest.raises(AcmeProblem) as caught:
        _ = client.accounts.of(acme).url
    assert caught.value.finding.reason is Reason.ACME_TLS_UNTRUSTED
    client.cluster.objects[path] = {"metadata": {"name": "roots"}, "data": {"ca.crt": pebble.roots_pem}}
    client.clock.advance(timedelta(minutes=1))
    assert client.accounts.of(acme).url


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ({}, "Create the Secret mail/mine with the entry tls.key."),
        ({f"{_SECRETS}/mine": _secret("mine", other=b"x")}, "Add the entry tls.key to the Secret mail/mine."),
        ({f"{_SECRETS}/mine": {"metadata": {}}}, "Add the entry tls.key to the Secret mail/mine."),
        ({f"{_SECRETS}/mine": {"metadata": {}, "data": {"tls.key": "%%"}}}, "Repair the entry tls.key of the Secret"),
        ({f"{_SECRETS}/mine": _secret("mine", tls_key=b"secret garbage")}, "Store a key and a CA bundle in PEM"),
    ],
)
def test_missing_key_names_secret_and_entry(pebble: Pebble, objects: dict[str, Json], message: str) -> None:
    """What the user forgot is named, needs a person, and nothing of the content is told."""
    client = Client(pebble)
    client.cluster.objects.update(objects)
    with pytest.raises(AcmeProblem, match=message) as caught:
        client.accounts.of(replace(client.acme, account_key=DataRef("Secret", "mail", "mine", "tls.key")))
    assert caught.value.finding.reason is Reason.CREDENTIALS_MISSING
    assert caught.value.needs_person
    assert "garbage" not in str(caught.value)


def test_missing_bundle_names_config_map_and_entry(pebble: Pebble) -> None:
    """A ConfigMap that is not there is named."""
    acme = replace(Client(pebble).acme, ca_bundle=DataRef("ConfigMap", "mail", "roots", "ca.crt"))
    with pytest.raises(AcmeProblem, match=r"Create the ConfigMap mail/roots with the entry ca\.crt"):
        Client(pebble).accounts.of(acme)


def test_bundle_that_is_no_pem_is_said(pebble: Pebble) -> None:
    """A bundle without a certificate is the user's to mend."""
    client = Client(pebble)
    path = "/api/v1/namespaces/mail/configmaps/roots"
    client.cluster.objects[path] = {"metadata": {"name": "roots"}, "data": {"ca.crt": "none"}}
    with pytest.raises(AcmeProblem, match="CA bundle in PEM"):
        client.accounts.of(replace(client.acme, ca_bundle=DataRef("ConfigMap", "mail", "roots", "ca.crt")))


def test_binary_entry_of_a_config_map_is_read(pebble: Pebble) -> None:
    """A ConfigMap keeps what is no UTF-8 under binaryData."""
    client = Client(pebble)
    path = "/api/v1/namespaces/mail/configmaps/roots"
    client.cluster.objects[path] = {"metadata": {}, "binaryData": {"ca.crt": base64.b64encode(b"\xff").decode()}}
    assert client.accounts.secrets.read(DataRef("ConfigMap", "mail", "roots", "ca.crt")) == b"\xff"


def test_external_account_is_asked_for(binding_pebble: Pebble) -> None:
    """A CA that wants an external account says so, and the message names the setting."""
    with pytest.raises(AcmeProblem, match=r"spec\.acme\.externalAccountBinding") as caught:
        _ = Client(binding_pebble).account.url
    assert caught.value.finding.reason is Reason.EXTERNAL_ACCOUNT_REQUIRED
    assert caught.value.needs_person


def test_external_account_registers(binding_pebble: Pebble) -> None:
    """With key id and HMAC key from a Secret, trailing newline included, the account is made."""
    client = Client(binding_pebble)
    client.cluster.objects[f"{_SECRETS}/eab"] = _secret("eab", hmac=f"{_HMAC}\n".encode())
    binding = ExternalAccountBinding("kid-1", DataRef("Secret", "mail", "eab", "hmac"))
    account = client.accounts.of(replace(client.acme, external_account_binding=binding))
    assert account.new_order(["eab.example.com"]).url


@pytest.mark.parametrize("hmac", [b"d3Jvbmc", b"not base64!"])
def test_wrong_external_account_key_is_said(binding_pebble: Pebble, hmac: bytes) -> None:
    """A key that is not the one of the key id, or no base64url, ends as a problem that needs a person."""
    client = Client(binding_pebble)
    client.cluster.objects[f"{_SECRETS}/eab"] = _secret("eab", hmac=hmac)
    binding = ExternalAccountBinding("kid-1", DataRef("Secret", "mail", "eab", "hmac"))
    with pytest.raises(AcmeProblem) as caught:
        _ = client.accounts.of(replace(client.acme, external_account_binding=binding)).url
    assert caught.value.needs_person
    assert hmac.decode() not in str(caught.value)


def test_external_account_of_another_namespace_is_another_account(binding_pebble: Pebble) -> None:
    """Naming somebody else's key id does not give their account: the key's namespace is part of the Secret's name."""
    acme = Client(binding_pebble).acme
    bindings = [ExternalAccountBinding("kid-1", DataRef("Secret", space, "eab", "hmac")) for space in ("a", "b")]
    names = {secret_name(replace(acme, external_account_binding=each)) for each in (*bindings, None)}
    assert len(names) == 3


def test_identity_does_not_show_its_secrets() -> None:
    """Neither the account's key nor the HMAC key is in what a log would print."""
    shown = repr(Identity("https://ca.example/dir", b"the-key", "a@example.com", ("kid", "the-hmac")))
    assert "the-key" not in shown
    assert "the-hmac" not in shown


def test_account_that_was_deactivated_is_named_with_its_secret(pebble: Pebble) -> None:
    """At whatever stage the CA says so; the Secret deleted, another account is made."""
    client = Client(pebble)
    order = client.account.new_order(["gone.example.com"])
    session, url = client.account._session, client.account.url
    session.post(RequestKind.ACCOUNT, url, Registration(status="deactivated"))
    asks: tuple[Callable[[], object], ...] = (
        lambda: client.account.new_order(["other.example.com"]),
        lambda: client.account.poll(order),
        lambda: client.account.poll_authorization(order, order.authorizations[0].url),
        lambda: client.account.finalize(order, csr_for(["gone.example.com"])),
        lambda: client.restarted().of(client.acme).new_order(["other.example.com"]),
    )
    for ask in asks:
        with pytest.raises(AcmeProblem) as caught:
            ask()
        problem = caught.value
        assert (problem.finding.reason, problem.needs_person) == (Reason.ACCOUNT_REJECTED, True)
        assert problem.finding.message.startswith(f"Delete the Secret mailtls-system/{secret_name(client.acme)}, ")
    del client.cluster.objects[_account_path(client)]
    client.accounts.look_again(client.acme)
    assert client.account.url != url
    assert isinstance(issue(client, ["gone.example.com"]), str)


def test_account_of_a_users_key_that_was_deactivated_asks_for_another_key(pebble: Pebble) -> None:
    """The user's Secret is not the operator's to delete."""
    client = Client(pebble)
    client.cluster.objects[f"{_SECRETS}/own"] = _secret("own", key=_pem(ec.generate_private_key(ec.SECP256R1())))
    acme = replace(client.acme, account_key=DataRef("Secret", "mail", "own", "key"))
    account = client.accounts.of(acme)
    account._session.post(RequestKind.ACCOUNT, account.url, Registration(status="deactivated"))
    with pytest.raises(AcmeProblem, match="Store another key in the Secret mail/own, so that a new account is made: "):
        account.new_order(["mx.example.com"])
