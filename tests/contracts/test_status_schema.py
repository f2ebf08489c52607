"""The status that the operator writes and the status that the CRD describes are the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from builders.contexts import wanting
from builders.endpoints import PORTS, POSTFIX, proven
from builders.stories import DAY, NOW, attempts, desired, schedule, secret, staged
from mailtls.api.status import DomainReport, HistoryEntry, Status, Stored
from mailtls.api.status_json import read, write
from mailtls.context import Context
from mailtls.controller.conditions import conditions
from mailtls.controller.status_writer import report_of
from mailtls.probe.target import Endpoint, Route, Target
from mailtls.reasons.reason import Finding, Reason, Severity

CRD = Path(__file__).parents[2] / "crds/mailservertls.yaml"


def everything() -> Context:
    """A context in which every part that a status can show is there."""
    have = proven(Finding(Reason.SERVING_OLD_CERTIFICATE, "Old."))
    ours = secret(handled_renew="1", handled_rollback="1")
    window = schedule(window_start=NOW, window_end=NOW + DAY, explanation_url="https://ca.test/why")
    full = tuple(
        replace(each, served_sha256="aa", served_not_after=NOW, tls_version="TLSv1.3", cipher="X")
        for each in have.verification.endpoints
    )
    service = Target(
        "10.96.0.7", PORTS[0], "mx.example.test", pod="postfix", workload="StatefulSet/postfix", route=Route.SERVICE
    )
    public = Target("192.0.2.1", PORTS[0], "mx.example.test", pod="mx.example.test", route=Route.PUBLIC)
    routes = tuple(Endpoint(each, NOW) for each in (service, public))
    entry = HistoryEntry(NOW, Reason.ISSUED, "Issued.", "0a")
    stored = Stored("mx-tls", "u", "aa" * 32, NOW, NOW + DAY, is_trial=True, proven_in=("StatefulSet/postfix",))
    status = Status(attempts=attempts(observed_renew="0"), history=(entry,), stored=stored)
    return (
        have.with_snapshot(secret=ours, status=status, staged=staged(order_url="https://ca.test/order/1"))
        .with_issuance(schedule=window)
        .with_verification(endpoints=(*full, *routes), routes=(service, public), handled_probe="1", deep_probed_at=NOW)
        .with_domains(reports=(DomainReport("example.com", NOW, (Finding(Reason.TLSA_MISMATCH, "Other."),)),))
    )


def written() -> dict[str, Any]:
    """The status of everything."""
    context = wanting(desired(workloads=(POSTFIX,)), everything())
    return write(report_of(context, conditions(context, NOW), NOW, "https://docs.example.com/{page}/"))


def described() -> dict[str, Any]:
    """The CRD's schema of the status."""
    crd = yaml.safe_load(CRD.read_text())
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    return schema


def fields_written(value: Any, place: str = "") -> set[str]:
    """Paths of all fields in a JSON value."""
    if isinstance(value, list):
        return set().union(*(fields_written(each, f"{place}[]") for each in value))
    if not isinstance(value, dict):
        return set()
    below = (fields_written(each, f"{place}.{name}") for name, each in value.items())
    return {f"{place}.{name}" for name in value}.union(*below)


def fields_described(schema: dict[str, Any], place: str = "") -> set[str]:
    """Paths of all fields in a schema."""
    if "items" in schema:
        return fields_described(schema["items"], f"{place}[]")
    found: set[str] = set()
    for name, each in schema.get("properties", {}).items():
        found |= {f"{place}.{name}"} | fields_described(each, f"{place}.{name}")
    return found


def test_every_field_that_is_written_is_described_and_the_other_way_round() -> None:
    """A field outside the schema is pruned in silence; one that nobody writes is a promise not kept."""
    assert fields_written(written()) == fields_described(described())


def test_values_stay_within_the_enums() -> None:
    """One value outside an enum and the API server refuses the whole status."""
    results = described()["properties"]["endpoints"]["items"]["properties"]["result"]["enum"]
    assert {each["result"] for each in written()["endpoints"]} <= set(results)
    finding = described()["properties"]["domains"]["items"]["properties"]["findings"]["items"]
    assert set(finding["properties"]["severity"]["enum"]) == set(Severity)


def test_status_is_read_back_as_it_was_written() -> None:
    """What decisions read again survives the API."""
    have, back = everything(), read(written())
    assert back.attempts == have.snapshot.status.attempts
    assert back.schedule == have.issuance.schedule
    assert back.history == have.snapshot.status.history
    assert back.stored == have.snapshot.status.stored
    assert back.handled_probe == "1"
    assert back.deep_probed_at == NOW
    assert back.domains == have.domains.reports
    said = conditions(wanting(desired(workloads=(POSTFIX,)), have), NOW)
    assert {each.type for each in back.conditions} == {each.type for each in said}


def test_nonsense_in_the_status_is_as_if_nothing_were_there() -> None:
    """A status is a report: whatever people or older versions left there, reading it never raises."""
    nonsense: list[Any] = [None, [], {}, "x", 7, [None], [{}], {"failed": "x"}, {"renewalTime": "yesterday"}]
    for value in nonsense:
        for name in ("conditions", "attempts", "certificate", "history", "lastHandledProbe", "domains", "secret"):
            assert isinstance(read({name: value}), Status)


def test_status_of_an_older_operator_is_read_as_far_as_it_is_known() -> None:
    """Fields and reasons that have other names now are as if they were not there; all else stands."""
    old = written() | {"handled": {"probe": "1", "renew": "1"}}
    del old["lastHandledProbe"]
    old["conditions"][0] |= {"reason": "ProbeRejected"}
    back = read(old)
    assert back.handled_probe is None
    assert len(back.conditions) == len(old["conditions"]) - 1
    assert back.stored == everything().snapshot.status.stored
