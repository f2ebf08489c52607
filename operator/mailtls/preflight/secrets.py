"""Reads entries of Secrets and ConfigMaps as the operator does, with the same words for what is missing."""

from mailtls.issuance.solvers.base import ChallengeProblem
from mailtls.model.spec import DataRef
from mailtls.preflight.place import Place
from mailtls.world.acme.account_secrets import AccountSecrets
from mailtls.world.acme.problem import AcmeProblem


def read_entry(place: Place, ref: DataRef) -> bytes:
    """Return the entry; raises `ChallengeProblem` (CredentialsMissing), and what the `Cluster` raises."""
    if place.cluster is None:
        raise ValueError("There is no cluster to read it from.")
    try:
        return AccountSecrets(place.cluster, ref.namespace, {}).read(ref)
    except AcmeProblem as problem:
        raise ChallengeProblem(problem.finding, transient=True) from None
