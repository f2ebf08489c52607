"""Ends orders at the CA without taking anything from under others: a CA hands one order or authorization to several."""

from dataclasses import dataclass
from functools import partial

from mailtls.model.observed import Observed
from mailtls.model.order import Status
from mailtls.model.spec import Desired
from mailtls.passes.proving import Validation
from mailtls.world.acme.accounts import Accounts
from mailtls.world.acme.problem import AcmeProblem, OrderGone
from mailtls.world.cluster.secrets import Secrets
from mailtls.world.ports import ApiError, Unreachable
from mailtls.world.shared_work import Busy


@dataclass(frozen=True, slots=True)
class Closing:
    """`namespaces` are those that resources may be in; empty: all."""

    secrets: Secrets
    accounts: Accounts
    validation: Validation
    namespaces: tuple[str, ...] = ()

    def close(self, desired: Desired, seen: Observed, url: str) -> None:
        """Remove the responses of an order that is over, and let go of what is pending and nobody else uses."""
        staged = seen.staged
        if staged is None:
            raise AssertionError("there is no order without a staged key")
        account = self.accounts.of(desired.acme)
        try:
            order = account.load(seen.order or account.resume(url))
        except OrderGone:
            return
        except AcmeProblem as problem:
            if problem.transient or problem.retry_at is not None:
                raise
            if seen.order is None:
                return  # what was published stays behind: the CA tells nobody of it any more
            order = seen.order
        server, user = desired.acme.server, staged.spki_sha256
        in_use = partial(self.accounts.uses.others, server, user)
        self.validation.clean_up(desired, seen, account, order, in_use)
        if any(each.status == Status.PENDING for each in order.authorizations) and self._knows_all_others(server, user):
            account.deactivate(order, in_use())

    def _knows_all_others(self, server: str, user: str) -> bool:
        """Whether it is known what the open orders of others use; if not, nothing is taken from under them.

        What is not sealed is nobody's order: else any tenant could plant one that is never known.
        """
        try:
            orders = self.secrets.open_orders(self.namespaces)
        except (ApiError, Unreachable, Busy):
            return False
        return all(self.accounts.uses.knows(key) for key, where in orders if where == server and key != user)
