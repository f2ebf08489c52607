"""A login that was refused: not tried again for the interval, whatever else fails, so that no account is locked."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from builders.kube import basic_auth
from builders.reconciles import FIRST, SECOND, WANTED, Operator
from fakes.clock import WallClock
from mailtls.api.spec import Probe
from mailtls.api.workload import Daemon
from mailtls.probe.target import Depth, Endpoint, Expected, Port, Target, TlsMode, TlsPolicy
from mailtls.reasons.reason import Finding, Reason

SUBMISSION = Port(587, TlsMode.START_TLS, TlsPolicy.ENFORCED)
POSTFIX = replace(WANTED.workloads[0], daemons=(Daemon("postfix", (SUBMISSION,)),))
WITH_LOGIN = replace(WANTED, workloads=(POSTFIX,), probe=Probe(auth_secret="probe-user"))
SECRETS = "/api/v1/namespaces/mail/secrets"
UNTRUSTED = Finding(Reason.UNTRUSTED_ROOT, "The chain ends nowhere.")
REFUSED = Finding(Reason.AUTH_FAILED, "The login was refused.")


class Servers:
    """A prober whose servers refuse logins, but for one; the `broken` one shows a chain that nobody trusts as well."""

    def __init__(self, clock: WallClock, takes_logins: str) -> None:
        self.clock, self.broken, self.takes_logins = clock, SECOND, takes_logins
        self.logins: list[str] = []

    def probe(self, targets: Iterable[Target], expected: Expected, depth: Depth = Depth.QUICK) -> Sequence[Endpoint]:
        """Answer for each target at once, and note where a login came along."""
        asked = list(targets)
        is_tried = expected.login is not None and depth is not Depth.QUICK
        self.logins += [each.pod for each in asked if is_tried]
        return [self._answer(each, expected, is_tried=is_tried) for each in asked]

    def _answer(self, target: Target, expected: Expected, *, is_tried: bool) -> Endpoint:
        is_refused = is_tried and target.pod != self.takes_logins
        found = ((UNTRUSTED,) if target.pod == self.broken else ()) + ((REFUSED,) if is_refused else ())
        return Endpoint(target, self.clock.now(), found, served_sha256=expected.leaf_sha256)


def begun(takes_logins: str = "") -> tuple[Operator, Servers]:
    """An operator that has swept the pods once and was refused by all but one."""
    clock = WallClock()
    servers = Servers(clock, takes_logins)
    operator = Operator(clock, servers, WITH_LOGIN)
    operator.cluster.create(SECRETS, basic_auth(username="u", password="wrong"))
    operator.look()
    assert servers.logins == [FIRST, SECOND]
    servers.logins.clear()
    return operator, servers


def reasons(operator: Operator, pod: str) -> list[Reason]:
    """What is said of a pod now."""
    known = operator.knows(pod)
    return [found.reason for found in known.findings] if known else []


def test_refused_login_is_left_out_while_another_fault_is_asked_again() -> None:
    """A server that fails for two reasons is asked within seconds, but not for the login, whose refusal stands."""
    operator, servers = begun()
    for _ in range(3):
        operator.clock.advance(WITH_LOGIN.probe.interval / 6)
        operator.look()
        assert servers.logins == []
        assert reasons(operator, SECOND) == [Reason.UNTRUSTED_ROOT, Reason.AUTH_FAILED]
    servers.broken = ""
    operator.look()
    assert (servers.logins, reasons(operator, SECOND)) == ([], [Reason.AUTH_FAILED])


def test_refused_login_is_tried_again_after_the_interval() -> None:
    """By then a person may have corrected the server."""
    operator, servers = begun()
    operator.clock.advance(WITH_LOGIN.probe.interval)
    operator.look()
    assert servers.logins == [FIRST, SECOND]


def test_refused_login_is_not_tried_at_a_pod_that_restarted() -> None:
    """All pods ask one account: a pod that restarts for ever would lock it."""
    operator, servers = begun()
    operator.look(run="2")
    assert servers.logins == []
    assert Reason.AUTH_FAILED in reasons(operator, SECOND)


def test_refused_login_fails_at_pods_that_took_the_place_of_those_that_refused_it() -> None:
    """They have other addresses, and of a Deployment other names; nobody has taken the login since."""
    operator, servers = begun()
    operator.look(ip="198.51.100.8")
    assert servers.logins == []
    assert [Reason.AUTH_FAILED in reasons(operator, pod) for pod in (FIRST, SECOND)] == [True, True]


def test_refused_login_is_warned_of_where_it_was_not_tried_again() -> None:
    """A server that took it once is not asked for it either, which must not read as consent."""
    operator, servers = begun(takes_logins=SECOND)
    operator.look()
    assert servers.logins == []
    assert reasons(operator, SECOND) == [Reason.UNTRUSTED_ROOT, Reason.AUTH_NOT_TRIED]


def test_corrected_credentials_are_tried_at_once() -> None:
    """The refusal was of the ones before."""
    operator, servers = begun()
    operator.cluster.delete(f"{SECRETS}/probe-user")
    operator.cluster.create(SECRETS, basic_auth(username="u", password="right"))
    operator.look()
    assert servers.logins == [SECOND]  # the first one is not asked anything before the interval is over


def test_person_who_asks_for_a_probe_gets_a_login() -> None:
    """The annotation is a request to check everything."""
    operator, servers = begun()
    operator.wanted = replace(WITH_LOGIN, probe_requested="now")
    operator.look()
    assert servers.logins == [FIRST, SECOND]
