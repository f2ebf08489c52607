"""The choice of a solver, by example and against a plain definition of it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mailtls.api.solvers import challenge_type_of, choose
from mailtls.api.spec import Acme, DataRef, SolverSpec
from mailtls.issuance.solvers.dns01 import Dns01
from mailtls.issuance.solvers.dns_update import Rfc2136
from mailtls.issuance.solvers.http01 import Http01

DNS = Dns01(Rfc2136("ns1.example.com", "mailtls.", DataRef("Secret", "mail", "key", "secret")))
HTTP = Http01()


def acme(*solvers: SolverSpec) -> Acme:
    """An authority with these solvers."""
    return Acme("https://ca.test/directory", None, solvers)


def test_longest_matching_zone_wins() -> None:
    """The nearest zone knows best, wherever it stands in the list."""
    wide, near, other = (
        SolverSpec(DNS, ("example.com",)),
        SolverSpec(HTTP, ("mail.example.com",)),
        SolverSpec(DNS, ("other.com",)),
    )
    assert choose(acme(wide, near, other), "mx.mail.example.com") is near
    assert choose(acme(wide, near, other), "mail.example.com") is near
    assert choose(acme(wide, near, other), "mx.example.com") is wide
    assert choose(acme(wide, near, other), "mx.Other.COM") is other
    assert choose(acme(wide, near, other), "mx.elsewhere.org") is None


def test_zone_matches_at_label_boundaries_only() -> None:
    """badexample.com does not lie in example.com."""
    assert choose(acme(SolverSpec(DNS, ("example.com",))), "badexample.com") is None


def test_first_of_equals_wins() -> None:
    """The order in the list decides where nothing else does."""
    first, second = SolverSpec(DNS, ("example.com",)), SolverSpec(HTTP, ("a.org", "example.com"))
    assert choose(acme(first, second), "mx.example.com") is first
    assert choose(acme(second, first), "mx.example.com") is second


def test_solver_without_zones_matches_what_no_other_does() -> None:
    """An empty selector is the last resort, even at the head of the list."""
    rest, near = SolverSpec(HTTP), SolverSpec(DNS, ("com",))
    assert choose(acme(rest, near), "mx.example.com") is near
    assert choose(acme(rest, near), "mx.example.org") is rest


def test_wildcard_is_validated_by_dns_only() -> None:
    """No CA takes HTTP-01 for a wildcard, so a longer zone of it does not count."""
    http, dns = SolverSpec(HTTP, ("mail.example.com",)), SolverSpec(DNS, ("example.com",))
    assert choose(acme(http, dns), "*.mail.example.com") is dns
    assert choose(acme(http), "*.mail.example.com") is None
    assert choose(acme(dns), "*.example.com") is dns


def test_types_are_those_of_the_ca() -> None:
    """The order's state machine asks by the CA's words."""
    type_of = challenge_type_of(acme(SolverSpec(DNS, ("example.com",)), SolverSpec(HTTP, ("example.org",))))
    assert (type_of("*.example.com"), type_of("example.org"), type_of("*.example.org")) == ("dns-01", "http-01", None)
    assert (DNS.challenge_type, HTTP.challenge_type) == ("dns-01", "http-01")


labels = st.sampled_from(["a", "b", "ab"])
zones = st.lists(labels, min_size=1, max_size=3).map(".".join)
solvers = st.builds(SolverSpec, st.sampled_from([DNS, HTTP]), st.lists(zones, max_size=3).map(tuple))
names = st.tuples(st.sampled_from(["", "*."]), st.lists(labels, min_size=1, max_size=4).map(".".join)).map("".join)


@settings(deadline=None)
@given(given_solvers=st.lists(solvers, max_size=5), name=names)
def test_any_choice_is_the_best_by_the_plain_definition(given_solvers: list[SolverSpec], name: str) -> None:
    """No other solver matches with a longer zone, and none before it with one as long."""

    def score(solver: SolverSpec) -> int:
        if name.startswith("*.") and solver.settings is HTTP:
            return -1
        host = name.removeprefix("*.").split(".")
        ends = [".".join(host[start:]) for start in range(len(host))]
        lengths = [zone.count(".") + 1 for zone in solver.dns_zones if zone in ends]
        return max(lengths, default=-1) if solver.dns_zones else 0

    scores = [score(solver) for solver in given_solvers]
    chosen = choose(acme(*given_solvers), name)
    if max(scores, default=-1) < 0:
        assert chosen is None
    else:
        assert chosen is given_solvers[scores.index(max(scores))]
