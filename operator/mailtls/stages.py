"""All stages, in their order: the first that has something to do for a resource is the next.

What a stage is, and how one is added, says `mailtls.stage`.
"""

from typing import Final

from mailtls.domains.execute import DomainChecking
from mailtls.domains.policy import CheckDomains, check_domains, domains_due_at
from mailtls.external.decide import Examine, examine, examine_due_at
from mailtls.external.execute import Examining
from mailtls.issuance import decide as order
from mailtls.issuance.between_orders import Rechecking, Renewing
from mailtls.issuance.bootstrap import Bootstrapping, WritePlaceholder, placeholder_due_at, write_placeholder
from mailtls.issuance.execute import Issuing
from mailtls.issuance.guard import RestoreSecret, SaveCopy, restore_secret, save_copy, stand_aside
from mailtls.issuance.leftovers import Leftovers
from mailtls.issuance.references import RecheckDependencies, dependencies_due_at, recheck_dependencies
from mailtls.issuance.restoring import Restoring
from mailtls.issuance.storage import AdoptSecret, adopt
from mailtls.rollout.coordinate import Coordinating, EndTurn, RequestTurn, end_turn, request_turn
from mailtls.rollout.decide import ReadWorkloads, Roll, read_workloads, roll, roll_due_at, roll_retry_at
from mailtls.rollout.execute import Rolling
from mailtls.rollout.going_back import GoBack, go_back
from mailtls.rollout.rollback import RollBack, roll_back
from mailtls.stage import AnyStage, Gate, Stage
from mailtls.step import USUAL
from mailtls.verification import decide as verification
from mailtls.verification.execute import Probing, RouteFinding

STAGES: Final[tuple[AnyStage, ...]] = (
    Stage(order.CloseLeftovers, order.close_leftovers, Leftovers, Leftovers.close, order.leftovers_due_at),
    Gate(stand_aside),
    Stage(Examine, examine, Examining, Examining.examine, examine_due_at),
    Stage(AdoptSecret, adopt, Restoring, Restoring.adopt),
    Stage(RestoreSecret, restore_secret, Restoring, Restoring.restore),
    Stage(SaveCopy, save_copy, Restoring, Restoring.save_copy),
    Stage(WritePlaceholder, write_placeholder, Bootstrapping, Bootstrapping.write, placeholder_due_at),
    Stage(RollBack, roll_back, Restoring, Restoring.roll_back),
    Stage(GoBack, go_back, Restoring, Restoring.go_back),
    Stage(order.CloseOrder, order.close_order, Issuing, Issuing.close, order.order_due_at, order.order_retry_at),
    Stage(RecheckDependencies, recheck_dependencies, Rechecking, Rechecking.recheck, dependencies_due_at),
    Stage(order.StageKey, order.stage_key, Issuing, Issuing.stage),
    Stage(order.StoreCertificate, order.store_certificate, Issuing, Issuing.store),
    Stage(order.SaveOrder, order.save_order, Issuing, Issuing.save),
    Stage(order.GiveUp, order.give_up, Issuing, Issuing.give_up),
    Stage(order.AdvanceOrder, order.advance_order, Issuing, Issuing.advance),
    Stage(order.ResumeOrder, order.resume_order, Issuing, Issuing.resume),
    Stage(order.OpenOrder, order.open_order, Issuing, Issuing.open),
    Stage(order.ScheduleRenewal, order.schedule_renewal, Renewing, Renewing.schedule, order.renewal_due_times),
    Stage(
        verification.RecheckRoots,
        verification.recheck_roots,
        Probing,
        Probing.recheck_roots,
        verification.roots_due_at,
    ),
    Stage(ReadWorkloads, read_workloads, Rolling, Rolling.read),
    Stage(verification.ConfirmPods, verification.confirm_pods, Probing, Probing.confirm),
    Stage(
        verification.ProbePods,
        verification.probe_pods,
        Probing,
        Probing.probe,
        verification.probe_due_at,
        verification.probe_retry_at,
    ),
    Stage(RequestTurn, request_turn, Coordinating, Coordinating.request),
    Stage(Roll, roll, Rolling, Rolling.roll, roll_due_at, roll_retry_at),
    Stage(EndTurn, end_turn, Coordinating, Coordinating.end),
    Stage(verification.FindRoutes, verification.find_routes, RouteFinding, RouteFinding.find_all),
    Stage(verification.ProbeRoutes, verification.probe_routes, Probing, Probing.probe_routes),
    Stage(CheckDomains, check_domains, DomainChecking, DomainChecking.check, domains_due_at),
)


def deadline_table() -> str:
    """Return how long each step may last, the longest first, as docs/explanation/how-it-works.md has it."""
    steps = sorted(
        (stage.step for stage in STAGES if isinstance(stage, Stage)),
        key=lambda step: (-step.deadline.seconds, step.__name__),
    )
    unusual = [step for step in steps if step.deadline != USUAL]
    rows = [f"| `{step.__name__}` | {step.deadline.seconds:g} s | {step.deadline.why} |" for step in unusual]
    usual = ", ".join(f"`{step.__name__}`" for step in steps if step.deadline == USUAL)
    head = ["| step | at most | why not less |", "| --- | --- | --- |"]
    return "\n".join([*head, *rows, f"| {usual} | {USUAL.seconds:g} s | |"])
