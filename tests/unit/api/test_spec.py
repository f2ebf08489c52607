"""Reading a MailServerTLS: what is filled in, what is normalised, and what is refused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailtls.api.installation import AllowedNames, Feature, Features
from mailtls.api.presets import PRESETS
from mailtls.api.reading.acme import default_acme
from mailtls.api.reading.document import InvalidSpec
from mailtls.api.reading.probe import default_policy
from mailtls.api.reading.spec import Defaults, parse, secret_name
from mailtls.api.spec import NO_CA, Acme, Approval, DataRef, Key, PrivateKeyPolicy, Probe, Renewal, Rollout, SolverSpec
from mailtls.api.windows import Window
from mailtls.api.workload import Daemon, Signal, SignalName, UpdateStrategy, Workload, WorkloadKind
from mailtls.issuance.solvers.dns01 import Dns01
from mailtls.issuance.solvers.dns_update import Rfc2136
from mailtls.issuance.solvers.http01 import Http01
from mailtls.issuance.solvers.registry import SOLVERS
from mailtls.maildomain.name import domain_name
from mailtls.pki.certificate import KeyAlgorithm
from mailtls.probe.target import (
    Depth,
    Port,
    Protocol,
    ProxyProtocol,
    RsaBits,
    Thresholds,
    TlsMode,
    TlsPolicy,
    TlsVersion,
)
from mailtls.reasons.reason import Reason
from mailtls.reasons.software import Software

Json = dict[str, Any]

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
INSTALLATION = Acme(
    LETS_ENCRYPT,
    "ops@example.net",
    (SolverSpec(Http01()),),
    profile="tlsserver",
    ca_bundle=DataRef("ConfigMap", "mailtls", "roots", "ca.crt"),
)
DNS_SOLVER = {
    "dns01": {
        "rfc2136": {"server": "ns1.example.com", "tsigKeyName": "k", "tsigSecretRef": {"name": "tsig", "key": "secret"}}
    }
}


def resource(spec: Json | None = None, annotations: Json | None = None) -> Json:
    """Make a resource of one name, with `spec` over it."""
    return {
        "metadata": {
            "namespace": "mail",
            "name": "mx-tls",
            "uid": "u1",
            "generation": 3,
            "creationTimestamp": "2026-08-01T12:00:00Z",
            "annotations": annotations,
        },
        "spec": {"dnsNames": ["mx1.example.com"]} | (spec or {}),
    }


def refusal(spec: Json, defaults: Defaults = Defaults(SOLVERS, INSTALLATION)) -> str:  # noqa: B008 - frozen
    """Return the sentence in which reading `spec` ends."""
    with pytest.raises(InvalidSpec) as caught:
        parse(resource(spec), defaults)
    return caught.value.finding.message


def authority(acme: Json | None, default: Acme | None = INSTALLATION) -> Acme:
    """Return the authority that a resource with this `spec.acme` orders from."""
    return parse(resource({"acme": acme}), Defaults(SOLVERS, default)).acme


def test_minimal_resource_has_every_default_filled_in() -> None:
    """What a resource leaves out comes from the dataclasses and from the installation."""
    desired = parse(resource(), Defaults(SOLVERS, INSTALLATION))
    assert desired.key == Key("mail", "mx-tls")
    assert (desired.uid, desired.generation) == ("u1", 3)
    assert desired.created_at == datetime(2026, 8, 1, 12, tzinfo=UTC)
    assert desired.secret_name == "mx-tls"
    assert desired.acme is INSTALLATION
    assert (desired.private_key, desired.renewal) == (PrivateKeyPolicy(), Renewal())
    assert (desired.rollout, desired.probe) == (Rollout(), Probe())
    assert (desired.workloads, desired.suspend) == ((), False)
    assert (desired.renew_requested, desired.probe_requested) == (None, None)


def test_installation_gives_the_probe_interval_where_the_resource_says_nothing() -> None:
    """The probe interval has a default of the installation, and the resource's own wins."""
    defaults = Defaults(SOLVERS, INSTALLATION, probe_interval=timedelta(minutes=5))
    assert parse(resource(), defaults).probe == Probe(timedelta(minutes=5))
    own = {"probe": {"interval": "1h30m", "trust": {"secretKeyRef": {"name": "ca"}}}}
    assert parse(resource(own), defaults).probe == Probe(
        timedelta(minutes=90), DataRef("Secret", "mail", "ca", "ca.crt")
    )


def test_client_name_of_the_probe_has_a_default_of_the_installation() -> None:
    """Without either, the address of the operator's pod is given; names in other scripts are read."""
    defaults = Defaults(SOLVERS, INSTALLATION, probe_client_name="probe.example.net")
    assert parse(resource(), Defaults(SOLVERS, INSTALLATION)).probe.client_name == ""
    assert parse(resource(), defaults).probe.client_name == "probe.example.net"
    own = {"probe": {"clientName": "Prüfer.example.com"}}
    assert parse(resource(own), defaults).probe.client_name == "xn--prfer-lva.example.com"
    assert refusal({"probe": {"clientName": "*.example.com"}}) == (
        "spec.probe.clientName: write a full host name such as mx1.example.com, of letters, digits and inner hyphens."
    )


def test_settle_time_of_a_workload_is_read() -> None:
    """Ten seconds where it says nothing; five minutes are the most that a rollout waits for one server."""
    given = [{"kind": "Deployment", "name": "mx"}, {"kind": "StatefulSet", "name": "mx", "settleTime": "1m30s"}]
    desired = parse(resource({"workloads": given}), Defaults(SOLVERS, INSTALLATION))
    assert [each.settle_time for each in desired.workloads] == [timedelta(seconds=10), timedelta(seconds=90)]
    for wrong in ("0s", "5m1s"):
        told = refusal({"workloads": [{**given[0], "settleTime": wrong}]})
        assert told == "spec.workloads[0].settleTime: write a duration from 1s to 5m."


def test_timeout_of_a_port_is_read() -> None:
    """The usual one is the prober's; a port may have up to a minute, also on the public route."""
    ports = [{"port": 25, "tlsMode": "StartTLS", "timeout": "30s"}, {"port": 465, "tlsMode": "Implicit"}]
    workload = {"kind": "StatefulSet", "name": "postfix", "ports": ports}
    own = {"workloads": [workload], "probe": {"from": ["Pods", "Public"]}}
    desired = parse(resource(own), Defaults(SOLVERS, INSTALLATION))
    assert [port.timeout for port in desired.workloads[0].ports] == [timedelta(seconds=30), None]
    assert desired.probe.public is not None
    assert [port.timeout for port in desired.probe.public.ports] == [timedelta(seconds=30), None]
    ports[0]["timeout"] = "61s"
    assert refusal({"workloads": [workload]}) == "spec.workloads[0].ports[0].timeout: write a duration from 1s to 1m."


def test_depth_and_login_of_the_probe_are_read() -> None:
    """A full probe without a login is the default."""
    assert parse(resource(), Defaults(SOLVERS, INSTALLATION)).probe == Probe(depth=Depth.FULL, auth_secret=None)
    own = {"probe": {"depth": "Deep", "deepInterval": "168h", "authSecretRef": {"name": "probe-user"}}}
    read = parse(resource(own), Defaults(SOLVERS, INSTALLATION)).probe
    assert read == Probe(depth=Depth.DEEP, auth_secret="probe-user", deep_interval=timedelta(hours=168))


def test_thresholds_of_the_probe_are_read() -> None:
    """Shares, durations and minima; nothing is demanded where nothing is written."""
    assert parse(resource(), Defaults(SOLVERS, INSTALLATION)).probe.thresholds == Thresholds(1 / 3, None, None)
    own = {"expiringSoon": "20%", "minimumTLSVersion": "1.3", "minimumRSABits": 3072}
    read = parse(resource({"probe": {"thresholds": own}}), Defaults(SOLVERS, INSTALLATION)).probe.thresholds
    assert read == Thresholds(0.2, TlsVersion.TLS_1_3, RsaBits.BITS_3072)
    own = {"expiringSoon": "36h"}
    read = parse(resource({"probe": {"thresholds": own}}), Defaults(SOLVERS, INSTALLATION)).probe.thresholds
    assert read.expiring_soon == timedelta(hours=36)


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        ({"minimumTLSVersion": "1.1"}, "minimumTLSVersion: write one of 1.2, 1.3."),
        ({"minimumTLSVersion": 1.2}, "minimumTLSVersion: write one of 1.2, 1.3."),
        ({"minimumRSABits": 1024}, "minimumRSABits: write one of 2048, 3072, 4096."),
        ({"minimumRSABits": "2048"}, "minimumRSABits: write one of 2048, 3072, 4096."),
        (
            {"expiringSoon": "0%"},
            "expiringSoon: write a share of the lifetime such as 33%, or a duration such as 240h.",
        ),
    ],
)
def test_threshold_that_makes_no_sense_is_refused(own: Json, sentence: str) -> None:
    """The schema has refused these already; an object that slipped past an older one is refused in a sentence."""
    assert refusal({"probe": {"thresholds": own}}) == f"spec.probe.thresholds.{sentence}"


def test_annotations_become_wishes_with_their_value() -> None:
    """Renew and probe are asked for by annotation; the value tells one wanted from the next."""
    desired = parse(
        resource(annotations={"mailtls.dev/renew": "now", "mailtls.dev/probe": ""}), Defaults(SOLVERS, INSTALLATION)
    )
    assert (desired.renew_requested, desired.probe_requested) == ("now", "")


POSTFIX: Json = {"container": "mta", "preset": "postfix"}
DOVECOT: Json = {"container": "imap", "preset": "dovecot"}


def with_daemons(*daemons: Json, **more: Any) -> Json:
    """A spec of one StatefulSet with these daemons in each pod."""
    return {"workloads": [{"kind": "StatefulSet", "name": "mail", "daemons": list(daemons), **more}]}


def test_daemons_of_one_workload_keep_their_order_and_each_its_own_settings() -> None:
    """Postfix and Dovecot by their presets, and a filter of which all is given."""
    own = {
        "name": "filter",
        "container": "mta",
        "preset": "generic",
        "command": ["sh", "-c", "kill -HUP 7"],
        "ports": [{"port": 10025, "tlsMode": "StartTLS"}],
    }
    (found,) = parse(resource(with_daemons(POSTFIX, DOVECOT, own)), Defaults(SOLVERS, INSTALLATION)).workloads
    assert found.daemons == (
        Daemon("postfix", PRESETS[Software.POSTFIX].ports, PRESETS[Software.POSTFIX].reload, "mta"),
        Daemon("dovecot", PRESETS[Software.DOVECOT].ports, ("doveadm", "reload"), "imap"),
        Daemon("filter", (Port(10025, TlsMode.START_TLS, TlsPolicy.ENFORCED),), ("sh", "-c", "kill -HUP 7"), "mta"),
    )
    assert [found.software_at(daemon.ports[0]) for daemon in found.daemons] == [
        Software.POSTFIX,
        Software.DOVECOT,
        None,
    ]
    assert [each.port for each in found.ports] == [25, 465, 587, 143, 993, 10025]
    assert found.reloaded == found.daemons


def test_signal_takes_the_place_of_the_command() -> None:
    """In the short form and for a daemon; the preset's command is left out."""
    to_master = {"container": "tools", "signal": "HUP", "process": "master"}
    short = {"kind": "StatefulSet", "name": "mx", "reload": to_master}
    spec = {"workloads": [short, *with_daemons(DOVECOT, POSTFIX | to_master)["workloads"]]}
    one, several = parse(resource(spec), Defaults(SOLVERS, INSTALLATION)).workloads
    ports, signal = PRESETS[Software.POSTFIX].ports, Signal(SignalName.HUP, "master")
    assert one.daemons == (Daemon("postfix", ports, (), "tools", signal),)
    assert several.daemons[1] == one.daemons[0]
    assert several.reloaded == several.daemons
    assert refusal(with_daemons(POSTFIX | to_master | {"signal": "TERM"})).endswith("write one of HUP, USR1, USR2.")
    assert "name of a program such as master" in refusal(with_daemons(POSTFIX | to_master | {"process": "a b"}))


def test_daemons_that_are_restarted_have_no_commands() -> None:
    """Their containers and ports are known all the same."""
    spec = with_daemons(POSTFIX, {"container": "smtpd", "preset": "opensmtpd"}, updateStrategy="Restart")
    spec["workloads"][0]["daemons"][1]["ports"] = [{"port": 2525, "tlsMode": "StartTLS"}]
    (found,) = parse(resource(spec), Defaults(SOLVERS, INSTALLATION)).workloads
    assert (found.reloaded, [each.container for each in found.daemons]) == ((), ["mta", "smtpd"])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (with_daemons(POSTFIX, preset="postfix"), "daemons: each daemon has a preset, a command and ports of its own"),
        (with_daemons(POSTFIX, reload={"container": "mta"}), "so move preset, reload and ports into the entries"),
        (with_daemons(POSTFIX, ports=[{"port": 25, "tlsMode": "StartTLS"}]), "daemons: each daemon has a preset"),
        (with_daemons(), "daemons: list one daemon at least"),
        (
            with_daemons(POSTFIX, DOVECOT | {"preset": "exim"}),
            "daemons: two daemons of a pod cannot have",
        ),
        (with_daemons({"preset": "postfix"}), "daemons[0].container: this must be given"),
        (with_daemons({"container": "mta"}), "daemons[0].preset: write one of"),
        (with_daemons(DOVECOT, {"container": "mta", "preset": "generic"}), "daemons[1].ports: the ports of a generic"),
        (with_daemons(POSTFIX | {"name": "A B"}), "daemons[0].name: write a name"),
        (with_daemons(POSTFIX | {"preset": "opensmtpd"}), "daemons: a daemon has no command"),
        (with_daemons(POSTFIX | {"command": ["true"]}, updateStrategy="None"), "daemons: nothing would be reloaded"),
        (with_daemons(*[POSTFIX] * 9), "daemons: list 8 at most"),
    ],
)
def test_daemons_that_contradict_each_other_are_refused(spec: Json, words: str) -> None:
    """One sentence says where and what to write instead."""
    assert f"spec.workloads[0].{words}" in refusal(spec) or words in refusal(spec)


def test_second_entry_of_one_workload_is_refused_with_the_form_that_is_right() -> None:
    """Whoever lists Postfix and Dovecot as two entries is shown how to write them as daemons of one."""
    entries = [{"kind": "StatefulSet", "name": "mail", "preset": preset} for preset in ("postfix", "dovecot")]
    assert refusal({"workloads": entries}) == (
        "spec.workloads: two entries name one workload, so write it once, with daemons: [{container: postfix, preset:"
        " postfix}, {container: dovecot, preset: dovecot}]."
    )
    other_kind = [entries[0], entries[1] | {"kind": "Deployment"}]
    assert len(parse(resource({"workloads": other_kind}), Defaults(SOLVERS, INSTALLATION)).workloads) == 2


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("MX1.Example.COM", "mx1.example.com"),
        ("mx1.example.com.", "mx1.example.com"),
        ("mx1.bücher.example", "mx1.xn--bcher-kva.example"),
        ("MX1.BÜCHER.example", "mx1.xn--bcher-kva.example"),
        ("mx1.bu\u0308cher.example", "mx1.xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("mx1.straße.example", "mx1.xn--strae-oqa.example"),
        ("mx1\u3002bücher\uff0eexample\uff61", "mx1.xn--bcher-kva.example"),
        ("почта.пример", "xn--80a1acny.xn--e1afmkfd"),
        ("1.2.3.4.in-addr.example", "1.2.3.4.in-addr.example"),
        (f"{'m' * 63}.example", f"{'m' * 63}.example"),
    ],
)
def test_name_is_normalised(written: str, read: str) -> None:
    """Names are compared with a certificate's, so they are held as certificates hold them."""
    assert parse(resource({"dnsNames": [written]}), Defaults(SOLVERS, INSTALLATION)).dns_names == (read,)


def test_names_that_are_the_same_once_normalised_are_refused() -> None:
    """One name in two spellings is one name twice."""
    assert "is listed twice" in refusal({"dnsNames": ["mx1.bücher.example", "MX1.xn--bcher-kva.example."]})


@pytest.mark.parametrize(
    "name", ["mx1.faß\u200dx.example", "mx1.☃.example", "mx1.☃\ufffe.example", "mx1.bü_cher.example", "mx1.אa.example"]
)
def test_name_that_idna_does_not_allow_is_refused_in_one_sentence(name: str) -> None:
    """A joiner out of place, symbols, and directions that are mixed: nobody could have registered it."""
    sentence = "spec.dnsNames[0]: this name holds characters that no host name has (IDNA 2008), so use others"
    assert refusal({"dnsNames": [name]}).startswith(sentence)


@pytest.mark.parametrize(
    "typed", ["bücher.example", "Straße.Example.", "почта.пример", "日本語。example", "mx1.example.com"]
)
def test_name_and_domain_of_any_script_are_read_alike(typed: str) -> None:
    """One behaviour for dnsNames, domains, the public host, and the zones of solvers."""
    dns = DNS_SOLVER["dns01"]["rfc2136"] | {"zone": typed}
    solver = {"selector": {"dnsZones": [typed]}, "dns01": {"rfc2136": dns}}
    spec = {"dnsNames": [typed], "domains": [{"name": typed}], "acme": {"solvers": [solver]}}
    desired = parse(resource(spec), Defaults(SOLVERS, INSTALLATION))
    (found,) = desired.acme.solvers
    assert isinstance(found.settings, Dns01)
    assert isinstance(found.settings.provider, Rfc2136)
    read = {desired.dns_names[0], desired.domains[0].name, found.dns_zones[0], found.settings.provider.zone}
    assert len(read) == 1
    assert next(iter(read)) == domain_name(typed).ascii


def test_refused_name_of_another_script_is_shown_in_both_forms() -> None:
    """Who typed it knows it by its letters, and the DNS knows it by the other."""
    allowed = (AllowedNames(("mail",), ("example.com",)),)
    with pytest.raises(InvalidSpec, match=r"order mx1\.bücher\.example \(mx1\.xn--bcher-kva\.example\)"):
        parse(resource({"dnsNames": ["mx1.bücher.example"]}), Defaults(SOLVERS, INSTALLATION, allowed))


@pytest.mark.parametrize(
    "name",
    ["mx1", "-mx.example.com", "mx.example.com:25", "mx 1.example.com", "", ".", f"{'a.' * 126}ab", "mx\n.example.com"],
)
def test_name_that_no_host_can_have_is_refused(name: str) -> None:
    """Single labels, ports, spaces and names of more than 253 characters are refused at their place."""
    assert refusal({"dnsNames": ["mx1.example.com", name]}).startswith("spec.dnsNames[1]: ")


@pytest.mark.parametrize(
    "address",
    ["192.0.2.1", "2001:db8::1", "::1", "[2001:db8::1]", "::ffff:192.0.2.1", "１９２.０.２.１", "192。0.2.1"],
)
def test_address_is_refused_with_the_reason(address: str) -> None:
    """Mail clients check names; whoever gives an address is told so."""
    assert "not IP addresses" in refusal({"dnsNames": [address]})


def test_wildcard_needs_a_solver_by_dns_also_among_the_installations() -> None:
    """The schema cannot see the installation's solvers, the parser can."""
    names = {"dnsNames": ["mx1.example.com", "*.example.com"]}
    assert "can only be validated by DNS" in refusal(names)
    by_dns = default_acme({"server": "letsencrypt", "solvers": [DNS_SOLVER]}, "mailtls", SOLVERS)
    assert parse(resource(names), Defaults(SOLVERS, by_dns)).dns_names == ("mx1.example.com", "*.example.com")


def test_authority_left_out_is_the_installations() -> None:
    """Without spec.acme the installation's authority is taken as it is."""
    assert authority(None) is INSTALLATION


def test_authority_of_the_same_server_is_completed_from_the_installations() -> None:
    """With the installation's server and account, each field left out is the installation's."""
    own = authority({"profile": "shortlived", "preferredChain": "ISRG Root X2"})
    assert own == replace(INSTALLATION, profile="shortlived", preferred_chain="ISRG Root X2")
    assert authority({"server": "letsencrypt"}) == INSTALLATION
    assert authority({"solvers": [{"http01": {}}]}) == replace(INSTALLATION, solvers=(SolverSpec(Http01()),))
    assert authority({"server": "letsencrypt", "email": INSTALLATION.email}) == INSTALLATION


_OTHER_ACCOUNTS: list[dict[str, Any]] = [
    {"server": "letsencrypt-staging"},
    {"server": "https://acme.attacker.example/directory"},
    {"email": "me@example.com"},
    {"accountKeySecretRef": {"name": "account"}},
    {"externalAccountBinding": {"keyID": "kid", "hmacKeySecretRef": {"name": "eab", "key": "hmac"}}},
    {"caBundle": {"secretKeyRef": {"name": "roots"}}},
]


@pytest.mark.parametrize("written", _OTHER_ACCOUNTS)
def test_resource_with_another_account_brings_its_own_solvers(written: dict[str, Any]) -> None:
    """The installation's answer no challenge that a CA of the resource's choice makes up."""
    with pytest.raises(InvalidSpec, match=r"^spec\.acme\.solvers: .*, so list a solver here(: .* named)?\.$") as caught:
        authority(written)
    assert caught.value.finding.reason is Reason.NO_SOLVER


@pytest.mark.parametrize("written", _OTHER_ACCOUNTS)
def test_other_account_belongs_to_the_namespace_of_the_resource(written: dict[str, Any]) -> None:
    """It has no credential of the installation, in whatever namespace the resource is."""
    own = authority(written | {"solvers": [{"http01": {}}]})
    assert own.namespace == "mail"
    assert own.email in {None, "me@example.com"}
    assert own.solvers == (SolverSpec(Http01()),)
    assert INSTALLATION.namespace == ""


def test_account_is_the_namespaces_where_the_installation_has_none() -> None:
    """Nothing that a resource writes makes an account in the operator's namespace."""
    assert authority({"server": "letsencrypt", "solvers": [{"http01": {}}]}, None).namespace == "mail"


def test_authority_with_solvers_of_its_own_takes_none_of_the_installations() -> None:
    """Solvers are a whole: those of the resource replace the installation's."""
    own = authority({"solvers": [DNS_SOLVER | {"selector": {"dnsZones": ["Example.com."]}}]})
    assert own.solvers == (
        SolverSpec(
            Dns01(Rfc2136("ns1.example.com", "k", DataRef("Secret", "mail", "tsig", "secret"))), ("example.com",)
        ),
    )


_RULES = (
    AllowedNames(("mail", "team-*"), ("*.example.com", "Example.org")),
    AllowedNames(("ops",), ("mx?.example.net",)),
)


@pytest.mark.parametrize(
    ("namespace", "name", "is_allowed"),
    [
        ("mail", "mx1.example.com", True),
        ("mail", "*.example.com", True),
        ("mail", "a.b.example.com", True),
        ("team-a", "example.org", True),
        ("mail", "example.com", False),
        ("mail", "mx1.example.com.evil.example", False),
        ("mail", "mx1.example.net", False),
        ("mailer", "mx1.example.com", False),
        ("ops", "mx1.example.net", True),
        ("ops", "mx12.example.net", False),
        ("ops", "*.example.net", False),
    ],
)
def test_namespace_orders_only_the_names_allowed_to_it(namespace: str, name: str, is_allowed: bool) -> None:
    """Rules are for the installation's account; who brings an account and a DNS server answers to the CA alone."""
    written = resource({"dnsNames": ["mx1.example.com" if namespace != "ops" else "mx2.example.net", name]})
    written["spec"]["dnsNames"] = list(dict.fromkeys(written["spec"]["dnsNames"]))
    written["metadata"]["namespace"] = namespace
    by_dns = default_acme({"server": "letsencrypt", "solvers": [DNS_SOLVER]}, "mailtls", SOLVERS)
    defaults = Defaults(SOLVERS, by_dns, _RULES)
    if is_allowed:
        assert name in parse(written, defaults).dns_names
    else:
        with pytest.raises(InvalidSpec, match="does not let namespace") as caught:
            parse(written, defaults)
        assert caught.value.finding.reason is Reason.NAME_NOT_ALLOWED
    own = {"server": "letsencrypt-staging", "solvers": [DNS_SOLVER]}
    written["spec"]["acme"] = own
    assert parse(written, defaults).dns_names


def test_another_account_does_not_bring_a_name_that_is_not_allowed_by_http01() -> None:
    """The operator answers HTTP-01 for every account, so who brings one would get the names that lead to it."""
    defaults = Defaults(SOLVERS, INSTALLATION, (AllowedNames(("victim",), ("mx.victim.example",)),))
    for_dns = DNS_SOLVER | {"selector": {"dnsZones": ["victim.example"]}}
    for account in _OTHER_ACCOUNTS:
        written = resource({"dnsNames": ["mx.victim.example"], "acme": account | {"solvers": [{"http01": {}}]}})
        with pytest.raises(
            InvalidSpec, match=r"have mx\.victim\.example validated by HTTP-01, so list a dns01"
        ) as caught:
            parse(written, defaults)
        assert caught.value.finding.reason is Reason.NAME_NOT_ALLOWED
        written["spec"]["acme"]["solvers"].append(for_dns)  # the nearest zone answers
        assert parse(written, defaults).acme.namespace == "mail"
    written["metadata"]["namespace"], written["spec"]["acme"]["solvers"] = "victim", [{"http01": {}}]
    assert parse(written, defaults).dns_names == ("mx.victim.example",)


def test_wildcard_is_not_covered_by_a_glob_for_one_character() -> None:
    """`?` and `[*]` match the asterisk of a wildcard as text, which stands for far more names."""
    for glob in ("?.example.com", "[*].example.com", "[!a].example.com"):
        assert not AllowedNames(("mail",), (glob,)).allows("mail", "*.example.com")


def test_references_stay_in_the_namespace_of_who_wrote_them() -> None:
    """A resource names Secrets of its own namespace, the installation those of the operator's."""
    reference = {"name": "eab", "key": "hmac", "namespace": "kube-system"}
    written = {
        "server": "letsencrypt",
        "externalAccountBinding": {"keyID": "kid", "hmacKeySecretRef": reference},
        "accountKeySecretRef": {"name": "account", "namespace": "kube-system"},
        "solvers": [{"http01": {}}],
    }
    own, installation = authority(written, None), default_acme(written, "mailtls", SOLVERS)
    assert own.account_key == DataRef("Secret", "mail", "account", "tls.key")
    assert own.external_account_binding is not None
    assert own.external_account_binding.hmac_key == DataRef("Secret", "mail", "eab", "hmac")
    assert installation is not None
    assert installation.account_key == DataRef("Secret", "mailtls", "account", "tls.key")


def test_certificate_from_elsewhere_needs_no_ca_and_takes_no_request_for_another() -> None:
    """Neither CA, solvers nor allowed names count; a wildcard needs no DNS; nobody here can renew, but for a probe."""
    spec: Json = {"external": {}, "dnsNames": ["mx1.example.com", "*.example.com"]}
    requests = {"mailtls.dev/renew": "1", "mailtls.dev/rollback": "2", "mailtls.dev/probe": "3"}
    rules = (AllowedNames(("other",), ("*",)),)
    found = parse(resource(spec, requests), Defaults(SOLVERS, None, rules, features=Features(frozenset(Feature))))
    assert found.is_external
    assert found.acme == NO_CA
    assert (found.renew_requested, found.rollback_requested, found.probe_requested) == (None, None, "3")


@pytest.mark.parametrize(("written", "words"), [("yes", "write an object here"), ([], "write an object here")])
def test_external_that_is_no_object_is_refused(written: Any, words: str) -> None:
    """With what to write."""
    assert words in refusal({"external": written})


def test_bootstrap_is_for_certificates_that_are_ordered_here() -> None:
    """Whoever keeps a Secret writes its first pair."""
    assert parse(resource({"bootstrap": "SelfSigned"}), Defaults(SOLVERS, INSTALLATION)).bootstrap == "SelfSigned"
    assert "so remove either external or bootstrap" in refusal({"external": {}, "bootstrap": "SelfSigned"})


def test_ordering_that_is_switched_off_is_refused_by_the_name_of_its_value() -> None:
    """Before anything is asked of a CA."""
    off = Defaults(SOLVERS, INSTALLATION, features=Features(frozenset({Feature.ISSUANCE})))
    assert refusal({}, off).startswith(
        "No certificates are ordered, and no Secrets written: features.issuance is false"
    )


def test_no_authority_at_all_is_refused_with_the_fix() -> None:
    """Neither the resource nor the installation names an authority: both ways out are told."""
    assert refusal({}, Defaults(SOLVERS)) == (
        "spec.acme: there is no CA to order from, so give acme.server here, or acme in the Helm values."
    )
    assert refusal({"acme": {"email": "me@example.com"}}, Defaults(SOLVERS)) == refusal({}, Defaults(SOLVERS))


def test_no_solver_at_all_is_refused_as_such() -> None:
    """Names that could not be validated in any way have a reason of their own."""
    with pytest.raises(InvalidSpec) as caught:
        parse(resource({"acme": {"server": "letsencrypt"}}), Defaults(SOLVERS))
    assert caught.value.finding.reason is Reason.NO_SOLVER
    assert caught.value.finding.message.startswith("spec.acme.solvers: ")


@pytest.mark.parametrize(
    "server", ["https://[::1/", "https://a b/", "https://x:99999/", "ftp://x/", "HTTP://x/", "https://"]
)
def test_server_that_is_no_https_url_is_refused(server: str) -> None:
    """A directory is fetched by https or not at all."""
    assert refusal({"acme": {"server": server}}).startswith("spec.acme.server: write letsencrypt")


@pytest.mark.parametrize(
    "server", ["ns1.example.com", "ns1:5353", "192.0.2.53", "[2001:db8::53]", "[::1]:53", "ns1.example.com.:53"]
)
def test_dns_server_is_taken_as_written(server: str) -> None:
    """Hosts, addresses and ports are all good; brackets tell an IPv6 address from its port."""
    rfc2136 = DNS_SOLVER["dns01"]["rfc2136"] | {"server": server}
    (solver,) = authority({"solvers": [{"dns01": {"rfc2136": rfc2136}}]}).solvers
    assert isinstance(solver.settings, Dns01)
    assert solver.settings.provider.server == server


@pytest.mark.parametrize("server", ["ns1:0", "ns1:65536", "ns1:", "2001:db8::53", "ns1/53", "-ns1", ""])
def test_dns_server_that_cannot_be_dialled_is_refused(server: str) -> None:
    """What names no host and port is refused at its place."""
    rfc2136 = DNS_SOLVER["dns01"]["rfc2136"] | {"server": server}
    message = refusal({"acme": {"solvers": [{"dns01": {"rfc2136": rfc2136}}]}})
    assert message.startswith("spec.acme.solvers[0].dns01.rfc2136.server: write ")


def test_settings_that_helm_leaves_empty_are_no_authority() -> None:
    """Helm cannot take values away, so empty ones count as absent."""
    assert default_acme(None, "mailtls", SOLVERS) is None
    assert default_acme({"server": "", "email": "", "solvers": [], "caBundle": {}}, "mailtls", SOLVERS) is None
    assert default_acme({"server": "letsencrypt", "email": ""}, "mailtls", SOLVERS) == Acme(LETS_ENCRYPT, None, ())


def test_settings_without_a_server_are_refused() -> None:
    """An installation that gives an address but no authority is told what is missing."""
    with pytest.raises(InvalidSpec, match=r"^acme\.server: name the CA"):
        default_acme({"email": "ops@example.net"}, "mailtls", SOLVERS)


def test_postfix_needs_no_more_than_its_name() -> None:
    """The preset knows Postfix' ports and its reload command."""
    desired = parse(
        resource({"workloads": [{"kind": "StatefulSet", "name": "postfix"}]}), Defaults(SOLVERS, INSTALLATION)
    )
    assert desired.workloads == (
        Workload(
            WorkloadKind.STATEFUL_SET,
            "postfix",
            UpdateStrategy.RELOAD,
            (
                Daemon(
                    "postfix",
                    (
                        Port(25, TlsMode.START_TLS, TlsPolicy.OPPORTUNISTIC),
                        Port(465, TlsMode.IMPLICIT, TlsPolicy.ENFORCED),
                        Port(587, TlsMode.START_TLS, TlsPolicy.ENFORCED),
                    ),
                    PRESETS[Software.POSTFIX].reload,
                ),
            ),
        ),
    )


def test_workload_overrides_parts_of_its_preset() -> None:
    """A container or ports of one's own leave the rest of the preset in place."""
    written = {
        "kind": "Deployment",
        "name": "mx",
        "reload": {"container": "mta"},
        "ports": [{"port": 2525, "tlsMode": "StartTLS"}],
    }
    (workload,) = parse(resource({"workloads": [written]}), Defaults(SOLVERS, INSTALLATION)).workloads
    port = Port(2525, TlsMode.START_TLS, TlsPolicy.ENFORCED)
    assert workload.daemons == (Daemon("postfix", (port,), PRESETS[Software.POSTFIX].reload, "mta"),)


@pytest.mark.parametrize("server", [server for server in Software if server is not Software.GENERIC])
def test_server_of_a_name_needs_no_ports(server: Software) -> None:
    """Each preset lists ports that its own server speaks on, by the policy that the same ports get when written."""
    written = {"kind": "Deployment", "name": "mx", "preset": str(server), "updateStrategy": "Restart"}
    (workload,) = parse(resource({"workloads": [written]}), Defaults(SOLVERS, INSTALLATION)).workloads
    assert workload.ports == PRESETS[server].ports
    assert workload.ports
    assert all(port.tls_policy is default_policy(port.port, port.tls_mode) for port in workload.ports)


def test_port_says_how_it_is_spoken_to() -> None:
    """Protocol, PROXY version and claimed address are read; an address is written in its shortest form."""
    port = {
        "port": 24,
        "protocol": "lmtp",
        "tlsMode": "StartTLS",
        "proxyProtocol": "V2",
        "xclientAddress": "2001:DB8:0::1",
    }
    written = {"kind": "Deployment", "name": "mx", "ports": [port]}
    (workload,) = parse(resource({"workloads": [written]}), Defaults(SOLVERS, INSTALLATION)).workloads
    expected = Port(24, TlsMode.START_TLS, TlsPolicy.ENFORCED, Protocol.LMTP, ProxyProtocol.V2, "2001:db8::1")
    assert workload.ports == (expected,)


@pytest.mark.parametrize("strategy", [UpdateStrategy.RESTART, UpdateStrategy.NONE])
def test_workload_that_is_not_reloaded_has_no_command(strategy: UpdateStrategy) -> None:
    """No preset's command is left where it must not run."""
    written = {"kind": "DaemonSet", "name": "mx", "updateStrategy": str(strategy)}
    (workload,) = parse(resource({"workloads": [written]}), Defaults(SOLVERS, INSTALLATION)).workloads
    assert workload.update_strategy is strategy
    assert workload.daemons == (Daemon("postfix", PRESETS[Software.POSTFIX].ports),)


@pytest.mark.parametrize(
    ("port", "tls", "policy"),
    [
        (25, "StartTLS", TlsPolicy.OPPORTUNISTIC),
        (25, "Implicit", TlsPolicy.ENFORCED),
        (587, "StartTLS", TlsPolicy.ENFORCED),
    ],
)
def test_policy_left_out_fits_the_port(port: int, tls: str, policy: TlsPolicy) -> None:
    """Only where strangers deliver mail may plain text be taken too (RFC 3207 section 4)."""
    written = {"kind": "DaemonSet", "name": "mx", "ports": [{"port": port, "tlsMode": tls}]}
    (workload,) = parse(resource({"workloads": [written]}), Defaults(SOLVERS, INSTALLATION)).workloads
    assert workload.ports[0].tls_policy is policy


def test_command_may_hold_any_text() -> None:
    """Arguments of a shell have line ends and may be empty; only NUL cannot be passed."""
    written: Json = {"kind": "DaemonSet", "name": "mx", "reload": {"command": ["sh", "-c", "a\nb", ""]}}
    (workload,) = parse(resource({"workloads": [written]}), Defaults(SOLVERS, INSTALLATION)).workloads
    assert workload.daemons[0].command == ("sh", "-c", "a\nb", "")
    written["reload"]["command"][3] = "\0"
    assert "no NUL" in refusal({"workloads": [written]})


@pytest.mark.parametrize(
    ("written", "size"),
    [({}, 256), ({"algorithm": "RSA"}, 3072), ({"size": 384}, 384), ({"algorithm": "RSA", "size": 2048}, 2048)],
)
def test_key_size_left_out_fits_the_algorithm(written: Json, size: int) -> None:
    """RSA starts at 3072 bits: 2048 is being phased out."""
    policy = parse(resource({"privateKey": written}), Defaults(SOLVERS, INSTALLATION)).private_key
    assert policy.size == size
    assert policy.algorithm is KeyAlgorithm(written.get("algorithm", "ECDSA"))


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("1h", timedelta(hours=1)),
        ("720h", timedelta(days=30)),
        ("1h30m", timedelta(minutes=90)),
        ("3600s", timedelta(hours=1)),
        ("60m1s", timedelta(seconds=3601)),
        ("8760h", timedelta(days=365)),
    ],
)
def test_duration_is_read(text: str, duration: timedelta) -> None:
    """Hours, minutes and seconds, as Kubernetes writes them."""
    assert parse(resource({"renewal": {"before": text}}), Defaults(SOLVERS, INSTALLATION)).renewal.before == duration


@pytest.mark.parametrize(
    ("written", "of_ten"),
    [(None, 1), (1, 1), (3, 3), (10_000, 10_000), ("1%", 1), ("25%", 2), ("100%", 10)],
)
def test_canary_and_waves_are_pods_or_a_share_of_them(written: object, of_ten: int) -> None:
    """A share is rounded down, and never to none; one pod is the default."""
    spec = {} if written is None else {"rollout": {"canary": written, "maxUnavailable": written}}
    found = parse(resource(spec), Defaults(SOLVERS, INSTALLATION)).rollout
    assert (found.canary.of(10), found.max_unavailable.of(10)) == (of_ten, of_ten)


@pytest.mark.parametrize("written", [0, -1, 10_001, True, 1.5, "1", "0%", "101%", "5 %", "%", "5%\n", [1]])
def test_amount_that_is_no_pods_is_refused(written: object) -> None:
    """None at all would be no canary, and a share has its sign."""
    sentence = "write a number of pods from 1 to 10000, or a share from 1% to 100% such as 10%."
    assert refusal({"rollout": {"canary": written}}) == f"spec.rollout.canary: {sentence}"


@pytest.mark.parametrize("text", ["1d", "h", "-1h", "1.5h", "1h 30m", "30m1h", "1H", "١h", "1h\n"])
def test_text_that_is_no_duration_is_refused(text: str) -> None:
    """Days, fractions, signs and other digits are refused, not guessed at."""
    assert refusal({"renewal": {"before": text}}).startswith("spec.renewal.before: ")


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"renewal": {"before": "59m59s"}}, "spec.renewal.before: write a duration from 1h to 8760h."),
        ({"rollout": {"timeout": "24h1s"}}, "spec.rollout.timeout: write a duration from 10s to 24h."),
        ({"probe": {"interval": "59s"}}, "spec.probe.interval: write a duration from 1m to 168h."),
    ],
)
def test_duration_beyond_its_bounds_is_refused(spec: Json, sentence: str) -> None:
    """The bounds are those of the schema, and the sentence too."""
    assert refusal(spec) == sentence


def test_secret_name_is_known_even_of_a_spec_that_cannot_be_read() -> None:
    """Claims on a Secret must be seen for resources that are wrong in other ways."""
    assert secret_name({"metadata": {"name": "mx"}, "spec": {"dnsNames": 7}}) == "mx"
    assert secret_name({"metadata": {"name": "mx"}, "spec": {"secretName": "other"}}) == "other"


def test_secret_value_in_the_wrong_field_is_not_repeated() -> None:
    """Complaints name the field and never what stands there: somebody may have pasted a key."""
    key = "-----BEGIN PRIVATE KEY----- c2VjcmV0"
    rfc2136 = DNS_SOLVER["dns01"]["rfc2136"]
    for spec in (
        {"dnsNames": [key]},
        {"secretName": key},
        {"acme": {"server": key}},
        {"acme": {"accountKeySecretRef": {"name": key}}},
        {"acme": {"externalAccountBinding": {"keyID": "kid", "hmacKeySecretRef": key}}},
        {"acme": {"solvers": [{"dns01": {"rfc2136": rfc2136 | {"tsigSecretRef": {"name": "tsig", "key": key}}}}]}},
    ):
        assert "PRIVATE" not in refusal(spec)


def test_windows_urgency_and_approval_of_a_rollout_are_read() -> None:
    """Time zones are UTC, expiry is urgent within three days, and nobody has to approve, where nothing is said."""
    assert parse(resource(), Defaults(SOLVERS, INSTALLATION)).rollout == Rollout(urgent_before=timedelta(hours=72))
    windows = [
        {"schedule": "0 2 * * *", "duration": "3h", "timeZone": "Europe/Berlin"},
        {"schedule": "*/30 * * * 6", "duration": "168h"},
    ]
    own = {"rollout": {"windows": windows, "urgentBefore": "0s", "approval": "Required"}}
    read = parse(resource(own), Defaults(SOLVERS, INSTALLATION)).rollout
    berlin, weekly = Window("0 2 * * *", timedelta(hours=3), "Europe/Berlin"), Window("*/30 * * * 6", timedelta(days=7))
    assert read == Rollout(windows=(berlin, weekly), urgent_before=timedelta(), approval=Approval.REQUIRED)


@pytest.mark.parametrize(
    ("window", "sentence"),
    [
        ({"schedule": "0 0 30 2 *", "duration": "1h"}, "schedule: there is no such day-of-month"),
        ({"schedule": "0 0 */31 * MON#2", "duration": "1h"}, "schedule: no day is ever like that"),
        ({"duration": "1h"}, "schedule: this must be given"),
        ({"schedule": "0 2 * * *"}, "duration: this must be given"),
        (
            {"schedule": "0 2 * * *", "duration": "1h", "timeZone": "Mars/Phobos"},
            "timeZone: write a time zone",
        ),
    ],
)
def test_window_that_never_opens_is_refused_with_a_sentence(window: Json, sentence: str) -> None:
    """What a pattern in the schema cannot see is said in a condition."""
    with pytest.raises(InvalidSpec) as refusal:
        parse(resource({"rollout": {"windows": [window]}}), Defaults(SOLVERS, INSTALLATION))
    assert refusal.value.finding.message.startswith(f"spec.rollout.windows[0].{sentence}")


@pytest.mark.parametrize(
    ("annotations", "is_paused", "approved"),
    [
        ({}, False, ""),
        ({"mailtls.dev/pause-rollout": "true"}, True, ""),
        ({"mailtls.dev/pause-rollout": "yes"}, True, ""),
        ({"mailtls.dev/pause-rollout": "False"}, False, ""),
        ({"mailtls.dev/approve": " AB:CD:01 "}, False, "abcd01"),
        ({"mailtls.dev/approve": "a" * 1000}, False, ""),
    ],
)
def test_decisions_of_people_about_a_rollout_are_read(annotations: Json, is_paused: bool, approved: str) -> None:
    """Fingerprints may be written as openssl prints them; any word but false pauses."""
    made = resource()
    made["metadata"]["annotations"] = annotations
    found = parse(made, Defaults(SOLVERS, INSTALLATION))
    assert (found.is_paused, found.approved) == (is_paused, approved)
