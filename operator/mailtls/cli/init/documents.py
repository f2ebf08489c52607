"""What `mailtls init` prints: the values of the chart, the MailServerTLS, and what the pod templates need."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import yaml

from mailtls.api.reading.document import Json
from mailtls.api.resource import GROUP, VERSION
from mailtls.cli.init.servers import MailWorkload, workload_json
from mailtls.reasons.quoting import printable
from mailtls.reasons.software import Software

MOUNT_PATH: Final = "/etc/mail-tls"
_SETTINGS: Final[Mapping[Software, str]] = {
    Software.POSTFIX: "smtpd_tls_chain_files = {path}/tls.key, {path}/tls.crt",
    Software.DOVECOT: "ssl_server_cert_file = {path}/tls.crt and ssl_server_key_file = {path}/tls.key",
    Software.HAPROXY: "ssl-load-extra-del-ext (in global), and bind ... ssl crt {path}/tls.crt",
    Software.NGINX: "ssl_certificate {path}/tls.crt; ssl_certificate_key {path}/tls.key;",
    Software.EXIM: "tls_certificate = {path}/tls.crt and tls_privatekey = {path}/tls.key",
}


@dataclass(frozen=True, slots=True)
class Rfc2136:
    """The DNS server that takes updates, the name of the TSIG key, and the Secret that holds it."""

    server: str
    key_name: str
    secret: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What was decided. `is_external`: somebody else writes the Secret. `dns` None: HTTP-01 validates the names.

    `has_operator`: it is installed, and its settings stay as they are.
    """

    name: str
    namespace: str
    dns_names: tuple[str, ...]
    secret_name: str
    workloads: tuple[MailWorkload, ...] = ()
    is_external: bool = False
    bootstrap: bool = False
    has_operator: bool = False
    email: str = ""
    dns: Rfc2136 | None = None


def values(plan: Plan) -> str:
    """The chart's values for the installation."""
    if plan.has_operator:
        return "# values.yaml: the operator is installed already; its settings are used as they are.\n"
    head = "# values.yaml: helm install mailtls charts/mailtls -n mailtls --create-namespace -f values.yaml\n"
    head += "# Add image.repository, which is where you have pushed the image to.\n"
    if plan.is_external:
        return head + _yaml({"features": {"issuance": False}})
    acme: Json = {"server": "letsencrypt"} | ({"email": plan.email} if plan.email else {})
    return head + _solver_note(plan) + _yaml({"acme": acme | {"solvers": [_solver(plan.dns)]}})


def _solver_note(plan: Plan) -> str:
    if plan.dns is None:
        return (
            "# Port 80 of each name must lead to Service mailtls-http01 in namespace mailtls: docs/how-to/http-01.md.\n"
            "# Where that cannot be, validate by DNS (docs/how-to/dns-01.md): --dns-server.\n"
        )
    secret = plan.dns.secret
    where = "must be in namespace mailtls: docs/how-to/dns-01.md."
    return f"# Secret {secret} (entry secret: the TSIG key in base64) {where}\n"


def _solver(dns: Rfc2136 | None) -> Json:
    if dns is None:
        return {"http01": {}}
    secret = {"name": dns.secret, "key": "secret"}
    return {"dns01": {"rfc2136": {"server": dns.server, "tsigKeyName": dns.key_name, "tsigSecretRef": secret}}}


def resource(plan: Plan) -> Json:
    """The MailServerTLS."""
    spec: Json = {"dnsNames": list(plan.dns_names), "secretName": plan.secret_name}
    if plan.is_external:
        spec["external"] = {}
    elif plan.bootstrap:
        spec["bootstrap"] = "SelfSigned"
    if plan.workloads:
        spec["workloads"] = [workload_json(each) for each in plan.workloads]
    metadata = {"name": plan.name, "namespace": plan.namespace}
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "MailServerTLS", "metadata": metadata, "spec": spec}


def manifest(plan: Plan) -> str:
    """The MailServerTLS as text."""
    return "# mailservertls.yaml: kubectl apply -f mailservertls.yaml\n" + _yaml(resource(plan))


def pods(plan: Plan) -> str:
    """What each pod template lacks, as objects that server-side apply adds to those that exist; else comments."""
    return "---\n".join(_pods(each, plan) for each in plan.workloads) or "# No workload is named.\n"


def _pods(workload: MailWorkload, plan: Plan) -> str:
    mounted = workload.mounted.get(plan.secret_name, ())
    having = {path.partition(":")[0] for path in mounted}
    lacking = list(dict.fromkeys(each.container for each in workload.servers if each.container not in having))
    notes = [f"# {printable(f'{workload} mounts Secret {plan.secret_name} already: {path}.')}\n" for path in mounted]
    if not lacking:
        return "".join(notes)
    notes += [f"# {printable(line)}\n" for line in _settings(workload, lacking)]
    head = (
        f"# pods.yaml: add this to the template of {workload}, where its manifest is kept. To try it out:\n"
        "# kubectl apply --server-side --field-manager=mailtls-init -f pods.yaml\n"
    )
    return head + "".join(notes) + _yaml(_template(workload, lacking, plan))


def _settings(workload: MailWorkload, containers: list[str]) -> Iterator[str]:
    for server in workload.servers:
        if server.container in containers:
            line = _SETTINGS.get(server.software, "see docs/how-to/other-servers.md").format(path=MOUNT_PATH)
            yield f"Settings of {server.software} in container {server.container}: {line}"


def _template(workload: MailWorkload, containers: list[str], plan: Plan) -> Json:
    volume = _free_name(workload)
    mount = {"name": volume, "mountPath": MOUNT_PATH, "readOnly": True}
    secret: Json = {"secretName": plan.secret_name} | ({} if plan.bootstrap or plan.is_external else {"optional": True})
    pod = {
        "containers": [{"name": each, "volumeMounts": [mount | {}]} for each in containers],
        "volumes": [{"name": volume, "secret": secret}],
    }
    metadata = {"name": workload.name, "namespace": plan.namespace}
    spec = {"template": {"spec": pod}}
    return {"apiVersion": "apps/v1", "kind": workload.kind, "metadata": metadata, "spec": spec}


def _free_name(workload: MailWorkload) -> str:
    """A name that no volume has yet: server-side apply would change that one."""
    names = ("mail-tls", *(f"mail-tls-{number}" for number in range(2, len(workload.volumes) + 3)))
    return next(name for name in names if name not in workload.volumes)


def _yaml(document: Json) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
