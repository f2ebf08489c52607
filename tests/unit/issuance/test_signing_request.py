"""Certificate requests: names as DNS-IDs alone, and a common name for authorities that want one."""

from threading import Event
from typing import TYPE_CHECKING, cast

import pytest
from cryptography import x509

from builders.contexts import a_context
from builders.stories import desired
from fakes.clock import WallClock
from fakes.cluster import FakeCluster
from mailtls.api.spec import Acme, PrivateKeyPolicy
from mailtls.issuance.certificates import new_key, signing_request
from mailtls.issuance.decide import StageKey
from mailtls.issuance.execute import Issuing
from mailtls.kube.secrets import Secrets
from mailtls.metrics import Metrics
from mailtls.reasons.reason import Finding, Reason

if TYPE_CHECKING:
    from mailtls.issuance.acme.accounts import Accounts
    from mailtls.issuance.validation import Validation

KEY = new_key(PrivateKeyPolicy())
LONG = ".".join(["a" * 20] * 4)


def read(der: bytes) -> tuple[list[str], list[str], bool]:
    """The common names, the DNS-IDs, and whether these are critical."""
    request = x509.load_der_x509_csr(der)
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    common = request.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return [str(each.value) for each in common], names.value.get_values_for_type(x509.DNSName), names.critical


@pytest.mark.parametrize(
    ("names", "common_name", "shown"),
    [
        (["mx.example.test"], False, ([], True)),
        (["mx.example.test", "b.example.test"], True, (["mx.example.test"], False)),
        ([LONG, "b.example.test"], True, (["b.example.test"], False)),
        ([LONG], True, ([], True)),
    ],
)
def test_subject_is_empty_unless_a_common_name_is_wanted(
    names: list[str], common_name: bool, shown: tuple[list[str], bool]
) -> None:
    """RFC 5280: a common name has 64 characters at most; without a subject the names must be understood."""
    common, found, critical = read(signing_request(KEY, names, common_name=common_name))
    assert found == names
    assert (common, critical) == shown


@pytest.mark.parametrize("wanted", [False, True])
def test_request_is_made_as_the_resource_says(wanted: bool) -> None:
    """What is staged, and sent later, has the common name or has it not."""
    cluster, clock = FakeCluster(), WallClock()
    nobody = cast("Accounts", None), cast("Validation", None)  # staging asks neither
    issuing = Issuing(Secrets(cluster), *nobody, clock, Metrics(), Event())
    acme = Acme("https://acme.example/dir", None, (), common_name=wanted)
    want = desired(acme=acme, dns_names=("mx.example.test",))
    step = StageKey(Finding(Reason.SECRET_MISSING, "There is none."))
    staged = issuing.stage(a_context(want), step).snapshot.staged
    assert staged is not None
    assert read(staged.csr_der)[0] == (["mx.example.test"] if wanted else [])
