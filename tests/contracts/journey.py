"""What a reader of the documentation types, in an order in which it works, with what each command needs before it."""

from __future__ import annotations

from dataclasses import dataclass

FINE = (0,)
FOUND_FAULTS = (0, 1)  # `mailtls probe` looks at a server that is not as good as can be
NOTHING_THERE = (0, 1, 3)  # and at addresses where nothing is
NOTHING_FAILED = (0, 1)  # and so nothing is found
ENDED = (0, 124)  # it watches until it is stopped


@dataclass(frozen=True, slots=True)
class Step:
    """A command as it is printed; `codes` are the exit codes that it may have, `says` what it must print.

    `before` is typed first, for what a reader has and the test has not. `is_trial` runs Helm and kubectl as a dry run.
    """

    command: str
    says: str = ""
    codes: tuple[int, ...] = FINE
    before: str = ""
    is_trial: bool = False


_INSTALL = (
    Step("kubectl apply --server-side -f crds/ -f deploy/mailtls.yaml", "deployment.apps/mailtls", is_trial=True),
    Step("kubectl apply --server-side -f deploy/mailtls.yaml", "deployment.apps/mailtls", is_trial=True),
    Step("kubectl -n mailtls create secret generic tsig --from-literal=secret='jG1d...w='", "created"),
    Step(
        "kubectl -n mail create secret generic stalwart-reload --from-literal=login='reloader:PASSWORD'",
        "created",
    ),
    Step(
        "kubectl -n mail create secret generic tsig --from-literal=secret='jG1d...w='",
        "created",
        before="kubectl delete secret tsig",
    ),
    Step(
        "helm install mailtls charts/mailtls --namespace mailtls --create-namespace \\\n"
        "  --set image.repository=registry.example.com/mailtls \\\n"
        "  --set acme.email=postmaster@example.com",
        "STATUS: deployed",
    ),
    Step("kubectl -n mailtls rollout status deployment/mailtls", "successfully rolled out"),
    Step("kubectl explain mst.spec", "dnsNames"),
    Step("helm install mailtls charts/mailtls --namespace mailtls --values my-values.yaml", is_trial=True),
    Step("helm install mailtls charts/mailtls --namespace mailtls --create-namespace --wait", is_trial=True),
    Step("kubectl apply --server-side -f crds/", "serverside-applied", is_trial=True),
    Step("helm upgrade mailtls charts/mailtls --namespace mailtls --values my-values.yaml", is_trial=True),
    Step(
        "helm upgrade --install mailtls charts/mailtls --namespace mailtls --create-namespace --reset-then-reuse-values"
        " \\\n  --set image.repository=registry.example.com/mailtls --set features.issuance=false",
        is_trial=True,
    ),
    Step(
        "helm install mailtls charts/mailtls -n mailtls -f examples/postfix/values.yaml",
        is_trial=True,
    ),
)
_ORDER = (
    Step("kubectl -n mail wait mst/mx --for=condition=Ready --timeout=10m", "met", before="kubectl apply -f mx.yaml"),
    Step("kubectl wait --namespace mail --for=condition=Ready --timeout=10m mst/mx", "met"),
)
_LOOK = (
    Step("kubectl get mst", "Ready"),
    Step("kubectl get mst -A", "Ready"),
    Step("kubectl -n mail get mst mx -w", "Ready", ENDED),
    Step("kubectl -n mail describe mst mx", "Verified"),
    Step("kubectl -n mail get events --field-selector involvedObject.name=mx", "Issued"),
    Step("kubectl -n mail get pods", "postfix-0"),
    Step("kubectl -n mailtls logs deploy/mailtls"),
    Step("kubectl -n mailtls logs deploy/mailtls | grep 'has to wait'", codes=NOTHING_FAILED),
    Step("kubectl -n mailtls get pods -o wide", "mailtls-"),
    Step("kubectl -n mailtls get pods -l app.kubernetes.io/name=mailtls", "Running"),
    Step("kubectl -n mailtls describe pods -l app.kubernetes.io/name=mailtls", "Ready"),
    Step("kubectl -n mailtls get lease", "mailtls"),
    Step("kubectl -n mailtls get pods,lease", "lease.coordination.k8s.io/mailtls"),
    Step("mailtls status", "Ready"),
    Step("kubectl mailtls status -n mail mx", "+ Verified"),
    Step("mailtls rollout status mx", "VERIFIED"),
    Step("kubectl mailtls rollout status -n mail mx", "VERIFIED"),
)
_PROBE = (
    Step("mailtls probe example.com", "mx1.example.com", FOUND_FAULTS),
    Step("mailtls probe mx1.example.com", "587", FOUND_FAULTS),
    Step("mailtls probe mail.example.com --port 143 --port 993", "ConnectionRefused", FOUND_FAULTS),
    Step("mailtls probe mx1.example.com:2525/smtp/starttls", "ConnectionRefused", FOUND_FAULTS),
    Step("mailtls probe 192.0.2.1 '[2001:db8::1]:465' --server-name mx1.example.com", "192.0.2.1", NOTHING_THERE),
    Step(
        "kubectl -n mailtls exec deploy/mailtls -- python -m mailtls probe POD_IP:25 --server-name mx1.example.com",
        "220 ",
        FOUND_FAULTS,
    ),
    Step(
        "MAILTLS_PROBE_PASSWORD=... mailtls probe mail.example.com --port 587 --port 993 --depth full "
        "--auth-user probe@example.com",
        "AuthMissing",
        FOUND_FAULTS,
    ),
    Step("mailtls probe example.com --dkim-selector mail", "DkimMissing", FOUND_FAULTS),
    Step(
        "mailtls probe mx1.example.com --expect-cert /etc/letsencrypt/live/mx1.example.com/cert.pem", codes=FOUND_FAULTS
    ),
    Step("7 6 * * *  mailtls probe --quiet example.com", codes=FOUND_FAULTS),
    Step("mailtls probe example.com --junit mail.xml --strict", codes=FOUND_FAULTS),
    Step(
        "mailtls probe --quiet example.com --prometheus /var/lib/node_exporter/textfile/mail.prom", codes=FOUND_FAULTS
    ),
    Step(
        "mailtls probe --json example.com | jq -r "
        '\'.endpoints[] | select(.result == "Fail") | "\\(.host):\\(.port) \\(.reason)"\'',
        codes=FOUND_FAULTS,
    ),
)
_REQUEST = (
    Step('kubectl -n mail annotate mst mx mailtls.dev/probe="$(date +%s)" --overwrite', "annotated"),
    Step('kubectl annotate mst mx mailtls.dev/probe="$(date +%s)" --overwrite', "annotated"),
    Step("kubectl mailtls probe-now -n mail mx --wait", "serve the stored certificate"),
    Step("kubectl mailtls renew -n mail mx --wait", "every probed port serves the certificate"),
    Step('kubectl annotate mst mx mailtls.dev/rollback="$(date +%s)" --overwrite', "annotated"),
)
_LEAVE = (
    Step("kubectl -n mail annotate secret mx-tls mailtls.dev/adopt=true", "annotated"),
    Step(
        "fingerprint=$(openssl x509 -in mine.crt -noout -fingerprint -sha256 | cut -d= -f2)\n"
        "kubectl -n mail create secret tls mx-tls --cert=mine.crt --key=mine.key --dry-run=client -o yaml |\n"
        '  kubectl annotate --local -f - "mailtls.dev/adopt=$fingerprint" -o yaml |\n'
        "  kubectl -n mail apply -f - --server-side --force-conflicts",
        "serverside-applied",
        before="openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 "
        "-subj /CN=mx1.example.com -addext subjectAltName=DNS:mx1.example.com,DNS:mail.example.com "
        "-keyout mine.key -out mine.crt 2>/dev/null",
    ),
    Step("kubectl delete mst --all --all-namespaces", "deleted"),
    Step("kubectl get secrets --all-namespaces -l app.kubernetes.io/managed-by=mailtls"),
    Step("helm uninstall mailtls --namespace mailtls", "uninstalled"),
    Step(
        "kubectl get secrets -A -l app.kubernetes.io/managed-by=mailtls -o go-template='\n"
        "  {{- range .items}}{{if .metadata.finalizers}}{{.metadata.namespace}} {{.metadata.name}}"
        '{{"\\n"}}{{end}}{{end}}\' |\n'
        "  while read -r namespace name; do\n"
        '    kubectl -n "$namespace" patch secret "$name" --type=merge -p \'{"metadata":{"finalizers":null}}\'\n'
        "  done",
        "secret/held patched",
        before="kubectl create secret generic held && kubectl label secret held app.kubernetes.io/managed-by=mailtls "
        '&& kubectl patch secret held --type=merge -p \'{"metadata":{"finalizers":["example.com/held"]}}\'',
    ),
)
JOURNEY = (*_INSTALL, *_ORDER, *_LOOK, *_PROBE, *_REQUEST, *_LEAVE)
STRETCHES = ((*_INSTALL, *_ORDER), (*_LOOK, *_PROBE), (*_REQUEST, *_LEAVE))
"""The same in three parts: in the one between, commands only look, and may run beside each other."""
