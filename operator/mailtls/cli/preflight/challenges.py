"""Could the names be validated: a solver for each, rehearsed as far as it can be before anything is ordered."""

from collections.abc import Iterator
from typing import assert_never

from mailtls.api.spec import Desired, SolverSettings
from mailtls.cli.preflight.network import knock
from mailtls.cli.preflight.place import Place, read_entry
from mailtls.cli.results import Line, bad, doubtful, good, unseen
from mailtls.issuance.solvers.base import ChallengeProblem, Outcome, Remark, Stage, Surroundings
from mailtls.issuance.solvers.policy import choose
from mailtls.issuance.solvers.registry import SOLVERS, Registry
from mailtls.kube.interface import ApiError
from mailtls.maildomain.lookup.records import Lookup
from mailtls.reasons.reason import Finding, Reason


def lines(desired: Desired, place: Place, registry: Registry = SOLVERS) -> Iterator[Line]:
    """Rehearse with the solver of each name, of a wildcard and its parent once."""
    hosts = {name.removeprefix("*."): name for name in reversed(desired.dns_names)}
    for host, name in reversed(hosts.items()):
        solver = choose(desired.acme, name)
        if solver is None:
            message = f"No solver is responsible for {name}: add one without a selector, or with a zone that holds it."
            yield bad("solver", Finding(Reason.NO_SOLVER, message))
        else:
            yield from _rehearsed(solver.settings, host, place, registry)


def _rehearsed(settings: SolverSettings, host: str, place: Place, registry: Registry) -> Iterator[Line]:
    topic = settings.challenge_type
    if settings.references and place.cluster is None:
        yield doubtful(topic, f"{host} is validated by {settings}; its Secret was not read, so not tried.")
        return
    try:
        secrets = {ref: read_entry(place, ref) for ref in settings.references}
        solver = registry.build(settings, secrets, Surroundings())
        for remark in solver.rehearse(host, _stage(place)):
            yield _line(topic, remark)
    except ChallengeProblem as problem:
        yield bad(topic, problem.finding)
    except ApiError as refusal:
        yield unseen(topic, f"The Secret for {settings} cannot be read ({refusal.message}).")


def _stage(place: Place) -> Stage:
    def addresses(host: str) -> tuple[tuple[str, ...], str]:
        answers = Lookup(place.resolver).addresses(host)
        found = tuple(address for answer in answers for address in answer.values)
        return found, next((answer.failure for answer in answers if answer.failure), "")

    return Stage(addresses, knock, place.may_write)


def _line(topic: str, remark: Remark) -> Line:
    match remark.outcome:
        case Outcome.GOOD:
            return good(topic, remark.message)
        case Outcome.DOUBTFUL:
            return doubtful(topic, remark.message, remark.reason)
        case Outcome.BAD:
            return bad(topic, Finding(remark.reason, remark.message))
        case Outcome.UNKNOWN:
            return unseen(topic, remark.message)
    assert_never(remark.outcome)
