"""Whole reconciles over a Secret that somebody else writes; only the world is a fake."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from builders.authority import DAY, Authority, Issued, cert_manager_secret
from builders.whole_reconcile import MX, PATH, WholeReconcile, killed_at
from fakes.cluster import FakeCluster
from mailtls.api.reading.document import Json
from mailtls.api.status import Report, Stored
from mailtls.api.status_json import read, write
from mailtls.reasons.reason import Reason

SECRET = "/api/v1/namespaces/mail/secrets/mx-tls"
NAME = "mx.example.test"


class FromElsewhere:
    """A resource whose Secret cert-manager writes, with three pods and a private CA that it trusts."""

    def __init__(self) -> None:
        self.ca, self.whole = Authority(), WholeReconcile()
        del self.whole.cluster.objects[SECRET]
        roots = {"metadata": {"namespace": "mail", "name": "roots"}, "data": {"ca.crt": self.ca.root_pem}}
        self.whole.cluster.create("/api/v1/namespaces/mail/configmaps", roots)
        trust = {"configMapKeyRef": {"name": "roots", "key": "ca.crt"}}
        self.whole.change(external={}, probe={"trust": trust})
        self.whole.cluster.writes.clear()

    def write(self, issued: Issued, **data: str) -> Json:
        """Have cert-manager write a pair; return the Secret as the API server has it."""
        body = cert_manager_secret("mail", "mx-tls", issued, self.ca.root_pem)
        body["data"] |= data
        objects = self.whole.cluster.objects
        if SECRET in objects:
            body["metadata"]["resourceVersion"] = objects[SECRET]["metadata"]["resourceVersion"]
            self.whole.cluster.replace(SECRET, body)
        else:
            self.whole.cluster.create(SECRET.rsplit("/", 1)[0], body)
        self.whole.cluster.writes.clear()
        self.whole.cluster.chain_pem = issued.chain
        self.whole.cluster.reloaded.clear()
        return deepcopy(objects[SECRET])

    def run(self) -> None:
        """Let the watch tell, and reconcile."""
        self.whole.observer.note_event(MX)
        self.whole.run()

    def reason(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        found = self.whole.condition(kind)
        return found["status"], found["reason"]

    @property
    def status(self) -> Json:
        """The status as the API server has it."""
        found: Json = self.whole.cluster.objects[PATH]["status"]
        return found


@pytest.fixture
def world() -> FromElsewhere:
    """A world without the Secret."""
    return FromElsewhere()


def serving(world: FromElsewhere) -> Issued:
    """Have a good certificate rolled out."""
    issued = world.ca.issue(NAME, begins=datetime.now(UTC) - 10 * DAY)
    world.write(issued)
    world.run()
    assert world.whole.condition("Ready")["status"] == "True", world.status["conditions"]
    return issued


def test_renewal_by_somebody_else_goes_into_every_pod_and_the_secret_is_never_written(world: FromElsewhere) -> None:
    """Each pod is reloaded and verified, the conditions say who wrote it, and no Secret was written."""
    serving(world)
    renewed = world.ca.issue(NAME)
    before = world.write(renewed)
    world.run()
    assert world.whole.cluster.reloaded == ["postfix-0", "postfix-1", "postfix-2"]
    assert world.reason("Ready") == ("True", "Ready")
    assert (
        "written by cert-manager (Certificate mx-cert, issuer letsencrypt)"
        in world.whole.condition("Issued")["message"]
    )
    assert world.whole.cluster.objects[SECRET] == before
    assert not [path for _, path in world.whole.cluster.writes if "/secrets" in path]
    assert world.status["secret"]["fingerprintSHA256"] == renewed.sha256
    assert world.status["certificate"]["renewalTime"]


@pytest.mark.parametrize("effect", range(12))
def test_crash_anywhere_while_a_renewal_of_somebody_else_goes_out_is_got_over(
    world: FromElsewhere, effect: int
) -> None:
    """The next process goes on: every pod has it, it is reported once, and the Secret is as it was written."""
    serving(world)
    renewed = world.ca.issue(NAME)
    before = world.write(renewed)
    world.whole.observer.note_event(MX)
    if not killed_at(world.whole, effect):
        assert effect > 6  # all that there is was done
        return
    world.whole.restart()
    for _ in range(3):
        world.run()
        world.whole.clock.advance(timedelta(seconds=20))
    assert world.reason("Ready") == ("True", "Ready")
    assert set(world.whole.cluster.reloaded) == {"postfix-0", "postfix-1", "postfix-2"}
    assert len(world.whole.cluster.reloaded) <= 4, "the one that it died at may be reloaded again"
    assert world.whole.cluster.objects[SECRET] == before
    assert [each["event"] for each in world.status["history"]] == ["Issued", "Issued"]
    assert world.status["secret"]["fingerprintSHA256"] == renewed.sha256


def bad_pairs(world: FromElsewhere) -> dict[str, tuple[Issued, dict[str, str]]]:
    """What must not go to pods, by the reason that is said."""
    good = world.ca.issue(NAME)
    other = cert_manager_secret("mail", "x", world.ca.issue(NAME))["data"]["tls.key"]
    return {
        "CertificateKeyMismatch": (good, {"tls.key": other}),
        "CertificateNamesMismatch": (world.ca.issue("www.example.test"), {}),
        "CertificateDatesWrong": (world.ca.issue(NAME, begins=datetime.now(UTC) + DAY), {}),
        "WrongCertificatePurpose": (world.ca.issue(NAME, purposes=[ExtendedKeyUsageOID.CLIENT_AUTH]), {}),
        "IncompleteChain": (Authority("Another").issue(NAME), {}),
        "CertificateWorse": (world.ca.issue(NAME, begins=datetime.now(UTC) - 30 * DAY), {}),
    }


@pytest.mark.parametrize(
    "reason",
    [
        "CertificateKeyMismatch",
        "CertificateNamesMismatch",
        "CertificateDatesWrong",
        "WrongCertificatePurpose",
        "IncompleteChain",
        "CertificateWorse",
    ],
)
def test_bad_pair_reaches_no_pod_and_what_serves_is_still_verified(world: FromElsewhere, reason: str) -> None:
    """The gate says what is wrong; no pod is reloaded, the Secret stays, and the pods are probed for the one before."""
    before = serving(world)
    bad, data = bad_pairs(world)[reason]
    secret = world.write(bad, **data)
    world.whole.cluster.reloaded += ["postfix-0", "postfix-1", "postfix-2"]  # they serve what they did
    world.run()
    assert world.whole.cluster.reloaded == ["postfix-0", "postfix-1", "postfix-2"]
    assert world.reason("Issued") == ("False", "CandidateRefused")
    assert f"goes to no pod: {reason}: " in world.whole.condition("Issued")["message"]
    assert world.reason("RolledOut") == ("False", "CandidateRefused")
    assert world.reason("Verified") == ("True", "Verified")
    assert {each["servedFingerprintSHA256"] for each in world.status["endpoints"]} == {before.sha256}
    assert world.status["secret"]["fingerprintSHA256"] == before.sha256
    assert world.whole.cluster.objects[SECRET] == secret
    events = [each for each in world.whole.events() if each["reason"] == "CandidateRefused"]
    assert len(events) == 1


def test_corrected_pair_goes_out_after_a_bad_one(world: FromElsewhere) -> None:
    """The next version of the Secret is examined by itself."""
    serving(world)
    bad, _ = bad_pairs(world)["CertificateNamesMismatch"]
    world.write(bad)
    world.run()
    good = world.ca.issue(NAME)
    world.write(good)
    world.run()
    assert world.whole.cluster.reloaded == ["postfix-0", "postfix-1", "postfix-2"]
    assert world.reason("Ready") == ("True", "Ready")


def test_untrusted_certificate_goes_out_once_its_root_is_trusted(world: FromElsewhere) -> None:
    """Nothing tells of the bundle of spec.probe.trust, so the gate is asked again in a while."""
    other = Authority("Another")
    issued = other.issue(NAME)
    world.write(issued)
    world.run()
    assert world.reason("Issued") == ("False", "CandidateRefused")
    assert world.whole.cluster.reloaded == []
    path = "/api/v1/namespaces/mail/configmaps/roots"
    world.whole.cluster.merge(path, {"metadata": {}, "data": {"ca.crt": other.root_pem}})
    world.whole.clock.advance(timedelta(seconds=31))
    world.run()
    assert world.reason("Ready") == ("True", "Ready")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, Reason.SECRET_MISSING),
        ({"tls.key": "bm9uZQ=="}, Reason.SECRET_UNREADABLE),
        ({"tls.crt": ""}, Reason.SECRET_UNREADABLE),
    ],
)
def test_secret_without_a_pair_is_said_and_pods_are_probed(
    world: FromElsewhere, data: dict[str, str] | None, reason: Reason
) -> None:
    """What is missing has a reason of its own; the pods are judged by what they serve."""
    serving(world)
    if data is None:
        del world.whole.cluster.objects[SECRET]
        world.whole.cluster.writes.clear()
    else:
        world.write(world.ca.issue(NAME), **data)
        world.whole.cluster.reloaded += ["postfix-0", "postfix-1", "postfix-2"]
    world.run()
    assert world.reason("Issued") == ("False", reason)
    assert world.reason("Verified") == ("True", "Verified")
    assert not [path for _, path in world.whole.cluster.writes if "/secrets" in path]


def test_expired_certificate_names_the_issuer(world: FromElsewhere) -> None:
    """Nothing is ordered, and it is said who has not renewed it."""
    world.write(world.ca.issue(NAME, begins=datetime.now(UTC) - 10 * DAY, lasts=9 * DAY))
    world.run()
    assert world.reason("Issued") == ("False", "CertificateExpired")
    assert (
        "cert-manager (Certificate mx-cert, issuer letsencrypt) has not renewed it"
        in (world.whole.condition("Issued")["message"])
    )


def test_late_issuer_is_said_while_the_certificate_serves(world: FromElsewhere) -> None:
    """With less than a quarter of the lifetime left, Issued and an Event name the issuer; what serves stays Ready."""
    world.write(world.ca.issue(NAME, begins=datetime.now(UTC) - 70 * DAY, lasts=90 * DAY))
    world.run()
    assert world.reason("Issued") == ("True", "RenewalMissing")
    assert "kubectl describe certificate mx-cert" in world.whole.condition("Issued")["message"]
    assert world.reason("Ready") == ("True", "Ready")
    assert [each["type"] for each in world.whole.events() if each["reason"] == "RenewalMissing"] == ["Warning"]
    warned = 'mailtls_status_condition_warning{name="mx",namespace="mail",reason="RenewalMissing",type="Issued"} 1.0'
    assert warned in world.whole.metrics.text().decode()


def test_same_secret_is_examined_once(world: FromElsewhere) -> None:
    """A reconcile without news reads what it must, and writes nothing."""
    serving(world)
    world.whole.cluster.writes.clear()
    world.whole.cluster.reads.clear()
    world.run()
    assert world.whole.cluster.writes == []
    assert "/api/v1/namespaces/mail/configmaps/roots" not in world.whole.cluster.reads


def test_what_is_known_of_the_certificate_before_does_not_stay_in_the_status() -> None:
    """What a merge patch leaves out stays: a trial certificate would pass in the place of a trusted one."""
    stored = Stored(
        "mx-tls", "uid-2", "00" * 32, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC), True
    )
    cluster, place = FakeCluster(), "/apis/mailtls.dev/v1alpha1/namespaces/mail/mailservertls"
    cluster.create(place, {"metadata": {"name": "mx"}})
    for each in (stored, replace(stored, is_trial=False), Stored("mx-tls", "uid-2", "11" * 32)):
        cluster.merge(
            f"{place}/mx", {"metadata": {}, "status": write(Report(generation=1, conditions=(), stored=each))}
        )
        assert read(cluster.objects[f"{place}/mx"]["status"]).stored == each


def test_secret_of_somebody_else_is_not_taken_over_when_certificates_are_ordered_again(world: FromElsewhere) -> None:
    """That it was brought into pods makes it not ours: its owner says so on the Secret, as with any other."""
    world.write(world.ca.issue(NAME))
    meta = world.whole.cluster.objects[SECRET]["metadata"]
    meta |= {"annotations": {}, "labels": {}, "managedFields": [{"manager": "kubectl-create", "operation": "Update"}]}
    world.run()
    assert world.reason("Ready") == ("True", "Ready")
    before = deepcopy(world.whole.cluster.objects[SECRET])
    del world.whole.cluster.objects[PATH]["spec"]["external"]
    world.whole.change()
    world.run()
    assert world.reason("Issued") == ("False", "SecretNotOwned")
    assert world.whole.cluster.objects[SECRET] == before
