"""A DNS provider of one module gets a certificate from a real CA that looks at the record itself."""

from builders import toy_provider
from fakes.toy_service import TOKEN, ToyService, running
from functional.challenge_dns import ChallengeDns
from functional.operator_core import Core
from functional.pebble import Options, running_pebble
from mailtls.issuance.solvers.registry import SOLVERS


def test_certificate_is_issued_by_a_provider_of_one_module() -> None:
    """Spec, Secret, record, validation by the CA, certificate; and nothing is left at the provider."""
    registry = SOLVERS.with_provider(toy_provider.PROVIDER)
    with ChallengeDns() as dns, running(ToyService(on_change=dns.set)) as service:
        toy = {"server": service.url, "tokenRef": {"name": "toy", "key": "token"}}
        with running_pebble(Options(always_valid=False, dns_server=dns.address)) as pebble:
            core = Core(pebble, registry=registry)
            core.put_secret("toy", {"token": TOKEN.encode()})
            core.apply(
                dnsNames=["mx.example.com", "*.example.com"], acme=core.acme() | {"solvers": [{"dns01": {"toy": toy}}]}
            )
            core.run_until_ready()
            assert core.secret() is not None
            assert core.events() == ["Issued"]
    assert set(service.records) == {"_acme-challenge.mx.example.com", "_acme-challenge.example.com"}
    assert not any(service.records.values())


def test_wrong_secret_of_a_provider_is_named_in_the_condition() -> None:
    """The order waits; once the Secret is right, it goes on by itself."""
    registry = SOLVERS.with_provider(toy_provider.PROVIDER)
    with ChallengeDns() as dns, running(ToyService(on_change=dns.set)) as service:
        toy = {"server": service.url, "tokenRef": {"name": "toy", "key": "token"}}
        with running_pebble(Options(always_valid=False, dns_server=dns.address)) as pebble:
            core = Core(pebble, registry=registry)
            core.put_secret("toy", {"token": b"another"})
            core.apply(acme=core.acme() | {"solvers": [{"dns01": {"toy": toy}}]})
            core.run(lambda: core.condition("Issued").get("reason") == "DnsUpdateRefused")
            assert "into the Secret toy" in core.condition("Issued")["message"]
            orders = pebble.orders_made()
            core.put_secret("toy", {"token": TOKEN.encode()})
            core.run_until_ready()
            assert pebble.orders_made() == orders
