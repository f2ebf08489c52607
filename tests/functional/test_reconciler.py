"""The operator's core against a real CA, with everything that goes wrong on the way to it."""

import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.x509.oid import NameOID

from functional.bind import PRIMARY, SECONDARY, Bind, Key, ZoneFile, free_port, running
from functional.operator_core import KEY, Core
from functional.pebble import Options, Pebble, running_pebble
from mailtls.api.reading.document import Json
from mailtls.api.spec import PrivateKeyPolicy
from mailtls.api.status import ConditionType
from mailtls.issuance.acme.order_rate import Budget
from mailtls.issuance.certificates import key_follows, new_key
from mailtls.kube.interface import ApiError, Conflict, Unreachable
from mailtls.net.effects import Interrupted
from mailtls.pki.certificate import KeyAlgorithm, KeyMaterial
from mailtls.reasons.reason import Finding, Reason

LONGEST_WAIT = 90.0  # seconds
SLOW = 60.0  # seconds that a slow machine may take besides
DNS_KEY = Key("mailtls.")
HMAC = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
SECOND = timedelta(seconds=1)
RFC2136 = {"server": "127.0.0.1:1", "tsigKeyName": "key.", "tsigSecretRef": {"name": "tsig", "key": "key"}}


@pytest.fixture(scope="module")
def shared_pebble() -> Iterator[Pebble]:
    """One CA for all tests; each counts the orders that it adds."""
    with running_pebble() as pebble:
        yield pebble


@pytest.fixture
def core(shared_pebble: Pebble) -> Core:
    """An operator over an empty cluster, with a resource just applied."""
    made = Core(shared_pebble)
    made.apply()
    return made


def test_resource_becomes_ready_by_one_order(core: Core) -> None:
    """Key, order, certificate, Secret and status, and nothing left open."""
    before = core.pebble.orders_made()
    core.run_until_ready()
    assert core.pebble.orders_made() == before + 1
    served, staged = core.secret(), core.secret("mx-tls-next")
    assert served is not None
    assert staged is not None
    assert served["tls.key"] == staged["tls.key"]
    assert b'"open": false' in staged["order.json"]


@pytest.mark.parametrize("written", [{"server": "https://127.0.0.1:1/dir"}, {"email": "me@example.com"}])
def test_installations_solvers_do_not_serve_another_account(shared_pebble: Pebble, written: Json) -> None:
    """The condition says what is missing, and neither a CA nor the installation's Secrets are touched."""
    installation = {"server": shared_pebble.directory_url, "email": "ops@example.com", "solvers": [{"http01": {}}]}
    core = Core(shared_pebble, installation=installation)
    core.apply(acme=written)
    core.reconcile(KEY)
    assert core.condition("Ready")["reason"] == "NoSolver"
    assert "so list a solver here" in core.condition("Ready")["message"]
    assert not [path for path in core.cluster.objects if "/secrets/" in path]


def test_own_account_with_own_solvers_issues_and_leaves_the_operators_namespace_alone(shared_pebble: Pebble) -> None:
    """A real CA, an account of the namespace, and nothing of the installation's."""
    installation = {"server": "letsencrypt", "email": "ops@example.com", "solvers": [{"dns01": {"rfc2136": RFC2136}}]}
    core = Core(shared_pebble, installation=installation)
    core.apply(acme=core.acme() | {"caBundle": {"configMapKeyRef": {"name": "roots", "key": "ca.pem"}}})
    roots = {"metadata": {"name": "roots", "resourceVersion": "1"}, "data": {"ca.pem": shared_pebble.roots_pem}}
    core.cluster.objects["/api/v1/namespaces/mail/configmaps/roots"] = roots
    core.run_until_ready()
    accounts = [path for path in core.cluster.objects if "/mailtls-account" in path]
    assert len(accounts) == 1
    assert accounts[0].startswith("/api/v1/namespaces/mail/secrets/")


def test_issuance_reads_nothing_twice(core: Core) -> None:
    """A pass that waited for the CA goes on from what it read, and the Secret is stored over what was read."""
    core.run_until_ready()
    reads = [name for name in core.cluster.reads if name.endswith(("/mx", "/mx-tls", "/mx-tls-next"))]
    assert len(reads) == 3


def test_first_issuance_writes_six_times_besides_the_account(core: Core) -> None:
    """Key and intent, the order's URL, the pair, the closed order with a copy of the pair, the status, an Event."""
    core.run_until_ready()
    written = [(verb, name.rsplit("/", 1)[1]) for verb, name in core.cluster.writes if "mailtls-" not in name]
    secrets = [("create", "mx-tls-next"), ("merge", "mx-tls-next"), ("apply", "mx-tls"), ("merge", "mx-tls-next")]
    assert written[:4] == secrets
    assert len(written) == 6


def test_idle_pass_writes_nothing(core: Core) -> None:
    """A certificate that is fine costs no write."""
    core.run_until_ready()
    core.reconcile(KEY)
    core.cluster.writes.clear()
    assert core.reconcile(KEY) is not None
    assert core.cluster.writes == []


def test_clock_that_is_ahead_costs_one_order() -> None:
    """A certificate of a day is due at once by that clock: said, and left alone until it is 2.4 hours old.

    A person who asks for a renewal gets one.
    """
    day = {"profiles": {"default": {"description": "a day", "validityPeriod": 86400}}}
    with running_pebble(Options(config=day)) as pebble:
        core = Core(pebble)
        core.clock.advance(timedelta(hours=17))
        core.apply()
        core.run_until_ready()
        assert core.reconcile(KEY) == pytest.approx(2.4 * 3600, abs=60)
        assert pebble.orders_made() == 1
        assert "CertificateDueAtOnce" in core.condition("Issued")["message"]
        assert "check the clocks" in core.status()["attempts"]["message"]
        first = core.secret()
        core.annotate("mailtls.dev/renew", "1")
        core.run(lambda: core.secret() != first)
        core.reconcile(KEY)
        assert core.status()["attempts"]["failed"] == 2
        assert pebble.orders_made() == 2


def test_renewal_with_a_kept_key_is_one_order(core: Core) -> None:
    """The staged key of a renewal under rotation Never is the one that serves already."""
    core.apply(privateKey={"rotationPolicy": "Never"})
    core.run_until_ready()
    first, before = core.secret(), core.pebble.orders_made()
    core.annotate("mailtls.dev/renew", "1")
    core.run(lambda: core.secret() != first)
    core.run_until_ready()
    second = core.secret()
    assert first is not None
    assert second is not None
    assert first["tls.key"] == second["tls.key"]
    assert first["tls.crt"] != second["tls.crt"]
    assert core.pebble.orders_made() == before + 1


def test_rollback_brings_the_pair_before_back_and_the_next_one_takes_it_back(core: Core) -> None:
    """Each value once; the exchange costs the CA nothing, and the restored certificate is scheduled as its own."""
    first, second = two_certificates(core)
    orders = core.pebble.orders_made()
    roll_back(core, "1")
    assert core.secret() == first
    assert core.secret("mx-tls-previous") == second
    assert "rolled back to" in core.condition("Issued")["message"]
    assert core.is_ready()
    core.reconcile(KEY)
    assert core.secret() == first
    roll_back(core, "2")
    assert (core.secret(), core.secret("mx-tls-previous")) == (second, first)
    assert core.events() == ["Issued", "Issued", "RolledBack", "RolledBack"]
    assert core.pebble.orders_made() == orders


def test_rollback_to_what_cannot_serve_is_refused_once(core: Core) -> None:
    """The resource stays ready, and a later certificate does not fulfil the old request."""
    core.run_until_ready()
    serving = core.secret()
    roll_back(core, "1")
    assert core.is_ready()
    assert core.secret() == serving
    assert "mx-tls-previous: it does not exist." in core.status()["history"][-1]["message"]
    core.annotate("mailtls.dev/renew", "1")
    core.run(lambda: core.secret() != serving)
    core.run_until_ready()
    assert core.secret("mx-tls-previous") == serving
    assert core.events() == ["Issued", "RollbackRefused", "Issued"]


def test_certificate_that_was_rolled_back_to_is_not_replaced_for_a_day(core: Core) -> None:
    """Its key is of a kind that is no longer wanted, so another one was due at once; it waits for a day."""
    core.run_until_ready()
    first = core.secret()
    core.apply(privateKey={"algorithm": "ECDSA", "size": 384})
    core.run_until_ready()
    orders, begun = core.pebble.orders_made(), core.clock.now()
    roll_back(core, "1")
    assert core.secret() == first
    assert core.is_ready()
    core.run(lambda: core.pebble.orders_made() != orders)
    assert timedelta(hours=24) - SECOND <= core.clock.now() - begun < timedelta(hours=25)


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("is_lost", [False, True])
def test_crash_in_a_rollback_loses_no_pair(core: Core, nth: int, *, is_lost: bool) -> None:
    """Whichever of the three writes was the last, and whether or not its answer came."""
    first, second = two_certificates(core)
    core.fail_once("apply", "/secrets/", nth, Unreachable("gone"), is_lost=is_lost)
    roll_back(core, "1", restarts=True)
    assert core.secret() == first
    roll_back(core, "2")
    assert (core.secret(), core.secret("mx-tls-previous")) == (second, first)


def roll_back(core: Core, wanted: str, *, restarts: bool = False) -> None:
    """Set the annotation, and reconcile until the status says that it was heeded."""
    core.annotate("mailtls.dev/rollback", wanted)
    core.run(lambda: core.status().get("lastHandledRollback") == wanted, restarts=restarts)


def two_certificates(core: Core) -> tuple[object, object]:
    """Have one issued and another one, by a request; gives what the Secret held first and holds now."""
    core.run_until_ready()
    first = core.secret()
    core.annotate("mailtls.dev/renew", "1")
    core.run(lambda: core.secret() != first)
    core.run_until_ready()
    return first, core.secret()


def test_missing_account_key_is_waited_for(core: Core) -> None:
    """Nobody tells the operator that a Secret it does not own was created: it looks again soon, and goes on."""
    core.apply(acme=core.acme() | {"accountKeySecretRef": {"name": "my-account", "key": "key.pem"}})
    delay = core.reconcile(KEY)
    assert core.condition("Ready")["reason"] == "CredentialsMissing"
    assert delay is not None
    assert delay <= LONGEST_WAIT
    core.put_secret("my-account", {"key.pem": new_key(PrivateKeyPolicy()).pem})
    core.clock.advance(timedelta(minutes=2))
    core.run_until_ready()


def test_unusable_dns_key_neither_loops_nor_orders_again(core: Core) -> None:
    """The open order waits for the key to be mended; what cannot be removed either is not tried in a loop."""
    before = core.pebble.orders_made()
    core.put_secret("tsig", {"key": b"no base64 at all!"})
    core.apply(acme=core.acme() | {"solvers": [{"dns01": {"selfCheck": False, "rfc2136": RFC2136}}]})
    for _ in range(5):
        core.reconcile(KEY)
        core.clock.advance(timedelta(minutes=2))
    assert core.condition("Ready")["reason"] == "CredentialsMissing"
    assert core.pebble.orders_made() == before + 1
    core.apply(acme=core.acme())
    core.run_until_ready()


def test_proof_that_cannot_be_removed_does_not_spoil_the_certificate(core: Core) -> None:
    """The certificate is stored; closing the order is tried again later, and given up at last."""
    core.spoil_clean_up(Finding(Reason.DNS_UPDATE_REFUSED, "The DNS server refuses the update."))
    core.run(lambda: core.condition("Ready").get("status") == "True")
    assert "attempts" not in core.status()
    assert core.events() == ["Issued"]
    assert core.journal()["open"]
    core.run(lambda: not core.journal()["open"])
    assert "attempts" not in core.status()


WRITES = {
    "account": ("create", "/mailtls-account", 1),
    "staged key": ("create", "mx-tls-next", 1),
    "order's URL": ("merge", "mx-tls-next", 1),
    "Secret": ("apply", "/mx-tls", 1),
    "closing, with our own copy": ("merge", "mx-tls-next", 2),
    "status": ("merge", "/status", 1),
    "event": ("create", "/events/", 1),
}
ERRORS = [
    Unreachable("gone"),
    ApiError(403, "Forbidden", 'cannot patch resource "secrets"'),
    ApiError(422, "Invalid", "no"),
    Conflict(409, "Conflict", "stale"),
    ApiError(404, "NotFound", "gone"),
    RuntimeError("a defect"),
    Interrupted(),
]


@pytest.mark.parametrize("restarts", [False, True], ids=["goes on", "restarts"])
@pytest.mark.parametrize("is_lost", [False, True], ids=["refused", "answer lost"])
@pytest.mark.parametrize("write", WRITES)
def test_write_that_fails_costs_neither_an_order_nor_a_key_nor_the_news(
    core: Core, write: str, is_lost: bool, restarts: bool
) -> None:
    """Whatever the API server says at whatever moment, one order and one key reach the Secret, and are told of."""
    before, keys_seen = core.pebble.orders_made(), set[bytes]()
    for error in ERRORS:
        core.begin_anew()
        core.fail_once(*WRITES[write], error, is_lost=is_lost)
        core.run_until_ready(restarts=restarts)
        served, staged = core.secret(), core.secret("mx-tls-next")
        assert served is not None
        assert staged is not None
        assert served["tls.key"] == staged["tls.key"]
        assert served["tls.key"] not in keys_seen
        keys_seen.add(served["tls.key"])
        assert len(core.status()["history"]) == 1
        assert not core.journal()["open"]
    assert core.pebble.orders_made() == before + len(ERRORS)


def test_forbidden_secret_is_told(core: Core) -> None:
    """Whoever looks at the resource learns which right is missing; the queue hears of it too."""
    message = 'secrets "mx-tls" is forbidden: User "mailtls" cannot get resource "secrets" in the namespace "mail"'
    core.cluster.hidden = lambda path: ApiError(403, "Forbidden", message) if "/secrets/" in path else None
    for _ in range(2):
        with pytest.raises(ApiError):
            core.reconcile(KEY)
    ready = core.condition("Ready")
    assert ready["reason"] == "Forbidden"
    assert "cannot get resource" in ready["message"]
    assert len(core.status()["conditions"]) == len(ConditionType) - 2  # stalled, so not under way; and no domain
    assert core.events() == ["Forbidden"]
    core.cluster.hidden = lambda _path: None
    core.run_until_ready()


def test_defect_is_told_by_its_name_alone(core: Core) -> None:
    """What an unexpected exception says may be a key."""
    core.fail_once("create", "mx-tls-next", 1, RuntimeError("-----BEGIN PRIVATE KEY-----"))
    with pytest.raises(RuntimeError):
        core.reconcile(KEY)
    ready = core.condition("Ready")
    assert ready["reason"] == "InternalError"
    assert "RuntimeError" in ready["message"]
    assert "PRIVATE" not in str(core.status())


def test_suspended_resource_stays_as_it_was_and_says_so(core: Core) -> None:
    """Ready keeps its status, with the reason that mutes alerts of overdue renewals."""
    core.run_until_ready()
    core.apply(suspend=True)
    core.annotate("mailtls.dev/renew", "1")
    assert core.reconcile(KEY) is None
    ready = core.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("True", "Suspended")
    core.apply(suspend=False)
    core.run_until_ready()
    assert core.condition("Ready")["reason"] == "Ready"


def test_deleted_resource_whose_spec_says_nothing_any_more_is_let_go(core: Core) -> None:
    """A default authority that was taken away must not hold a Secret, and with it a namespace, for ever."""
    core.apply(acme=core.acme() | {"accountKeySecretRef": {"name": "missing", "key": "key.pem"}})
    core.reconcile(KEY)
    core.spoil_journal()
    core.delete()
    for _ in range(10):
        if core.reconcile(KEY) is None:
            break
    assert not core.is_held("mx-tls-next")


@pytest.mark.parametrize("policy", [PrivateKeyPolicy(KeyAlgorithm.RSA, 2048), PrivateKeyPolicy(size=384)], ids=str)
def test_changed_key_policy_takes_the_place_of_an_order_that_waits(core: Core, policy: PrivateKeyPolicy) -> None:
    """The first certificate that is stored has the key that is wanted now, and no other was issued."""
    before = core.pebble.orders_made()
    core.hold_an_order()
    core.apply(acme=core.acme(), privateKey={"algorithm": str(policy.algorithm), "size": policy.size})
    core.run_until_ready()
    served = core.secret()
    assert served is not None
    assert key_follows(KeyMaterial(served["tls.key"]), policy)
    assert len(core.status()["history"]) == 1
    assert core.pebble.orders_made() == before + 2


@pytest.fixture(scope="module")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    """A DNS server that takes updates of one key."""
    zone = ZoneFile("example.com", policy="grant mailtls. zonesub TXT;")
    with running(tmp_path_factory.mktemp("bind"), [zone], [DNS_KEY]) as server:
        yield server


def refuse_updates(core: Core, bind: Bind) -> None:
    """Apply the resource with a DNS key of the right name and a wrong secret."""
    rfc2136 = {"server": bind.server, "zone": "example.com", "tsigKeyName": "mailtls."}
    solver = {"dns01": {"selfCheck": False, "rfc2136": rfc2136 | {"tsigSecretRef": {"name": "tsig", "key": "key"}}}}
    core.put_secret("tsig", {"key": Key("mailtls.").secret.encode()})
    core.apply(acme=core.acme() | {"solvers": [solver]})


def test_refused_update_keeps_its_order_and_is_tried_again_ever_more_seldom(core: Core, bind: Bind) -> None:
    """The CA hears of one order in an hour of refusals, and no attempt is counted."""
    before, began_at = core.pebble.orders_made(), core.clock.now()
    refuse_updates(core, bind)
    delays = []
    while core.clock.now() - began_at < timedelta(hours=1):
        delay = core.reconcile(KEY)
        assert delay is not None
        delays.append(delay)
        core.clock.advance(timedelta(seconds=delay))
    assert core.pebble.orders_made() == before + 1
    assert core.condition("Ready")["reason"] == "DnsUpdateRefused"
    assert "attempts" not in core.status()
    assert core.events() == ["DnsUpdateRefused"]
    assert core.requests("authorization") <= 20


@pytest.mark.bind
def test_name_server_that_lags_is_named_within_a_minute(shared_pebble: Pebble, tmp_path: Path) -> None:
    """It is waited for as long as before, and once it has the record, the order goes on."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 on loopback")
    records = f"@ NS ns1\n@ NS ns2\nns1 A {PRIMARY}\nns2 AAAA {SECONDARY}\n"
    zone, port = ZoneFile("example.com", records, "grant mailtls. zonesub TXT;"), free_port()
    copy = ZoneFile("example.com", primary=f"primaries port {port} {{ {PRIMARY}; }};")
    with (
        running(tmp_path / "primary", [zone], [DNS_KEY], port=port) as primary,
        running(tmp_path / "secondary", [copy], address=SECONDARY, port=port) as secondary,
    ):
        core = Core(shared_pebble, names=primary.names())
        core.put_secret("tsig", {"key": DNS_KEY.secret.encode()})
        rfc2136 = {"server": primary.server, "tsigKeyName": "mailtls."}
        solver = {"dns01": {"rfc2136": rfc2136 | {"tsigSecretRef": {"name": "tsig", "key": "key"}}}}
        core.apply(acme=core.acme() | {"solvers": [solver]})
        began_at = core.clock.now()
        core.run(lambda: core.condition("Issued").get("reason") == "DnsNotPropagated")
        assert core.clock.now() - began_at < timedelta(seconds=60 + SLOW)
        assert f"ns2.example.com ({secondary.server})" in core.condition("Issued")["message"]
        secondary.rndc("retransfer", "example.com")
        core.run_until_ready()
        assert core.clock.now() - began_at < timedelta(seconds=120 + SLOW)


@pytest.mark.parametrize("restarts", [False, True], ids=["goes on", "restarts"])
def test_mended_dns_key_is_taken_up_within_a_minute(core: Core, bind: Bind, restarts: bool) -> None:
    """After hours of refusals nobody waits out the pause, and the order that waited is the one that is issued."""
    before = core.pebble.orders_made()
    refuse_updates(core, bind)
    for _ in range(10):
        core.reconcile(KEY)
        core.clock.advance(timedelta(minutes=11))
    core.put_secret("tsig", {"key": DNS_KEY.secret.encode()})
    if restarts:
        core.restart()
    mended_at = core.clock.now()
    core.run_until_ready()
    assert core.clock.now() - mended_at < timedelta(seconds=60 + SLOW)
    assert core.pebble.orders_made() == before + 1


@pytest.mark.parametrize("restarts", [False, True], ids=["goes on", "restarts"])
def test_mended_external_account_is_taken_up_within_a_minute(restarts: bool) -> None:
    """Although the failure needs a person, that person need not touch the resource."""
    wanted = {"externalAccountBindingRequired": True, "externalAccountMACKeys": {"kid-1": HMAC}}
    with running_pebble(Options(config=wanted)) as pebble:
        core = Core(pebble)
        binding = {"keyID": "kid-1", "hmacKeySecretRef": {"name": "eab", "key": "hmac"}}
        core.put_secret("eab", {"hmac": b"d3Jvbmc"})
        core.apply(acme=core.acme() | {"externalAccountBinding": binding})
        core.run(lambda: "attempts" in core.status())
        assert "nextAttemptTime" not in core.status()["attempts"]
        core.clock.advance(timedelta(seconds=5))
        core.put_secret("eab", {"hmac": HMAC.encode()})
        if restarts:
            core.restart()
        mended_at = core.clock.now()
        core.run_until_ready()
        assert core.clock.now() - mended_at < timedelta(seconds=60 + SLOW)
        assert "attempts" not in core.status()


def test_orders_over_the_limit_wait_in_line_and_are_told_when_their_turn_is(core: Core) -> None:
    """The CA hears nothing of what waits; a wake-up in between neither loses the place nor takes another."""
    core.order_limit = Budget(2, timedelta(hours=2))
    core.restart()
    before = core.pebble.orders_made()
    core.run_until_ready()
    core.apply(dnsNames=["second.example.com"])
    core.run_until_ready()
    began_at = core.clock.now()
    core.apply(dnsNames=["third.example.com"])
    delays = [core.reconcile(KEY) for _ in range(3)]
    assert core.pebble.orders_made() == before + 2
    ready = core.condition("Ready")
    assert ready["reason"] == "RateLimited"
    assert "itself holds back, because the CA takes 2 orders of an account in 2h; next try at" in ready["message"]
    assert all(delay is not None and timedelta(minutes=59) < timedelta(seconds=delay) for delay in delays)
    assert core.events().count("RateLimited") == 1
    assert "attempts" not in core.status()
    core.run_until_ready()
    assert timedelta(minutes=59) < core.clock.now() - began_at < timedelta(minutes=61)
    assert core.pebble.orders_made() == before + 3


def test_deleted_resource_gives_its_place_in_line_back(core: Core) -> None:
    """Whoever comes after it takes the very place, and not one behind it."""
    core.order_limit = Budget(2, timedelta(hours=2))
    core.restart()
    core.run_until_ready()
    core.apply(dnsNames=["second.example.com"])
    core.run_until_ready()
    for number in range(5):
        core.apply(dnsNames=[f"deleted-{number}.example.com"])
        core.reconcile(KEY)
        core.delete()
        assert core.reconcile(KEY) is None
    core.apply(dnsNames=["third.example.com"])
    delay = core.reconcile(KEY)
    assert core.condition("Ready")["reason"] == "RateLimited"
    assert delay is not None
    assert timedelta(seconds=delay) < timedelta(minutes=61)


def test_renewal_that_the_authority_suggests_does_not_wait_in_line() -> None:
    """Certificates are renewed in time however many others are ordered, once they are an hour old."""
    hours = {"profiles": {"default": {"description": "six hours", "validityPeriod": 6 * 3600}}}
    with running_pebble(Options(config=hours)) as pebble:
        core = Core(pebble, order_limit=Budget(1, timedelta(days=1)))
        core.apply()
        core.run_until_ready()
        first = core.secret()
        assert first is not None
        core.clock.advance(timedelta(hours=2))
        began_at = core.clock.now()
        pebble.suggest_renewal(
            first["tls.crt"].decode(), began_at - timedelta(hours=1), began_at + timedelta(minutes=5)
        )
        core.apply(probe={"interval": "2h"})  # asks the authority again
        core.run(lambda: core.secret() != first)
        assert core.clock.now() - began_at < timedelta(minutes=6)


def test_preferred_chain_that_is_not_offered_is_told_and_the_certificate_stored(core: Core) -> None:
    """An Event says so once, and the condition for as long as it lasts, a restart included."""
    core.apply(acme=core.acme() | {"preferredChain": "Root of nobody"})
    core.run_until_ready()
    root = core.pebble.root().subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    assert core.events() == ["Issued", "ChainUnavailable"]
    assert str(root) in core.condition("Issued")["message"]
    core.restart()
    core.cluster.writes.clear()
    core.reconcile(KEY)
    assert core.cluster.writes == []
    core.apply(acme=core.acme())
    core.run_until_ready()
    assert str(root) not in core.condition("Issued")["message"]


@pytest.mark.parametrize("restarts", [False, True], ids=["goes on", "restarts"])
def test_changed_secret_name_closes_the_order_that_stands_open(core: Core, restarts: bool) -> None:
    """The order under the old name is closed in the next pass, by this process or by one that knows of nothing."""
    core.hold_an_order()
    assert core.is_held("mx-tls-next")
    core.apply(acme=core.acme(), secretName="new-tls")
    if restarts:
        core.restart()
    core.run(lambda: core.condition("Ready").get("status") == "True")
    assert core.secret("new-tls") is not None
    assert core.secret("mx-tls") is None
    core.run(lambda: not core.is_held("mx-tls-next"))
    assert not core.is_held("new-tls-next")
    assert "order" not in core.status()


def test_ordinary_pass_looks_for_no_order_of_an_earlier_spec(core: Core) -> None:
    """It costs no request but for the pass after a change of the spec."""
    core.run_until_ready()
    core.reconcile(KEY)
    assert core.cluster.lists == []
    core.apply(probe={"interval": "2h"})
    core.run_until_ready()
    assert len(core.cluster.lists) == 1
    core.reconcile(KEY)
    assert len(core.cluster.lists) == 1


def test_changed_names_take_the_place_of_an_order_that_waits(core: Core) -> None:
    """What was staged for the old names is closed, and one order is made for the new ones."""
    before = core.pebble.orders_made()
    core.apply(acme=core.acme() | {"accountKeySecretRef": {"name": "missing", "key": "key.pem"}})
    core.reconcile(KEY)
    core.apply(acme=core.acme(), dnsNames=["other.example.com"])
    core.run_until_ready()
    assert core.pebble.orders_made() == before + 1
