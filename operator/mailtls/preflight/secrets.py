"""Reads entries of Secrets and ConfigMaps as the operator does, with the same words for what is missing."""

from mailtls.model.spec import DataRef
from mailtls.preflight.place import Place
from mailtls.world.acme.accounts import Accounts
from mailtls.world.acme.problem import AcmeProblem
from mailtls.world.challenges.proofs import ProofProblem
from mailtls.world.clock import SystemClock


def read_entry(place: Place, ref: DataRef) -> bytes:
    """Return the entry; raises `ProofProblem` (CredentialsMissing), and what the `Cluster` raises."""
    if place.cluster is None:
        raise ValueError("There is no cluster to read it from.")
    try:
        return Accounts(place.cluster, ref.namespace, SystemClock(), lambda _type, _code: None).read(ref)
    except AcmeProblem as problem:
        raise ProofProblem(problem.finding, transient=True) from None
