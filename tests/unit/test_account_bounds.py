"""What tenants' accounts may take of the operator's memory."""

from datetime import timedelta

from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailtls.model.spec import Acme
from mailtls.world.acme.accounts import MOST_ACCOUNTS, Accounts
from mailtls.world.metrics import MOST_SERVERS, Metrics

_SERVER = "https://acme-v02.api.letsencrypt.org/directory"


def _acme(number: int, namespace: str) -> Acme:
    return Acme(_SERVER, f"a{number}@example.com", (), namespace=namespace)


def test_accounts_of_a_namespace_are_bounded_and_push_out_nobody_elses() -> None:
    """A namespace that names an address after the other forgets its own accounts only."""
    accounts = Accounts(FakeCluster(), "mailtls-system", WallClock(), lambda *_: None)
    installation, neighbour = accounts.of(_acme(0, "")), accounts.of(_acme(0, "mail"))
    for number in range(5 * MOST_ACCOUNTS):
        accounts.of(_acme(number, "evil"))
    assert accounts.held == 2 + MOST_ACCOUNTS
    assert accounts.of(_acme(0, "")) is installation
    assert accounts.of(_acme(0, "mail")) is neighbour


def test_account_that_no_resource_uses_is_forgotten() -> None:
    """Its resources are gone; the installation's account stays."""
    clock = WallClock()
    accounts = Accounts(FakeCluster(), "mailtls-system", clock, lambda *_: None)
    accounts.of(_acme(0, ""))
    accounts.of(_acme(0, "gone"))
    clock.advance(timedelta(days=1))
    accounts.of(_acme(0, "mail"))
    assert accounts.held == 2


def test_released_order_gives_its_token_back() -> None:
    """By the settings alone: neither the API server nor the CA is asked for it."""
    cluster = FakeCluster()
    accounts = Accounts(cluster, "mailtls-system", WallClock(), lambda *_: None)
    acme = _acme(0, "")
    line = accounts.of(acme).line
    line.stand("ticket", "mail")
    reads = len(cluster.reads)
    accounts.release(acme, "ticket")
    accounts.release(_acme(1, "never-seen"), "ticket")
    assert (len(cluster.reads), dict(line.tickets)) == (reads, {})


def test_servers_that_resources_name_make_a_bounded_number_of_series() -> None:
    """The servers heard of last have a series."""
    metrics = Metrics()
    for number in range(300):
        metrics.clock_skew(f"h{number}.attacker.example", 0.0)
    text = metrics.text().decode()
    assert text.count("mailtls_clock_skew_seconds{") == MOST_SERVERS
    assert "h299.attacker.example" in text
