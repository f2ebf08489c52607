"""What every reason means to a postmaster and what to try: one text for conditions, Events and reasons.md in docs/."""

from collections.abc import Mapping

from mailtls.reasons.explanations.connecting import CONNECTING, STARTING_TLS
from mailtls.reasons.explanations.domain import DOMAIN, DOMAIN_SECTIONS
from mailtls.reasons.explanations.issuing import CA, DUE, VALIDATION
from mailtls.reasons.explanations.resource import GOOD, IN_PROGRESS, OPERATOR, RESOURCE, SECRET
from mailtls.reasons.explanations.rollout import ROLLING_OUT
from mailtls.reasons.explanations.served import DEPTH, SERVED
from mailtls.reasons.reason import Explanation, Reason

EXPLANATIONS: Mapping[Reason, Explanation] = {
    **GOOD,
    **IN_PROGRESS,
    **RESOURCE,
    **DUE,
    **CA,
    **VALIDATION,
    **SECRET,
    **ROLLING_OUT,
    **CONNECTING,
    **STARTING_TLS,
    **SERVED,
    **DEPTH,
    **OPERATOR,
    **DOMAIN,
}
SECTIONS: Mapping[str, tuple[Reason, ...]] = {
    "All is well": tuple(GOOD),
    "On the way": tuple(IN_PROGRESS),
    "The resource": tuple(RESOURCE),
    "Why a certificate is ordered": tuple(DUE),
    "The CA": tuple(CA),
    "Validating names by DNS or HTTP": tuple(VALIDATION),
    "Guarding the Secret": tuple(SECRET),
    "Rolling the certificate out": tuple(ROLLING_OUT),
    "Connecting to a mail port": tuple(CONNECTING),
    "Starting TLS": tuple(STARTING_TLS),
    "What is served": tuple(SERVED),
    "What other clients would meet (full and deep probes)": tuple(DEPTH),
    "The operator itself": tuple(OPERATOR),
    **DOMAIN_SECTIONS,
}
