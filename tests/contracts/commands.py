"""Every command that the documentation shows, one by one, as a reader would type it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from textwrap import dedent

from contracts.render import ROOT
from contracts.snippets import PAGES

_SHELL = re.compile(r"(?ms)^(?P<indent> *)```(?P<kind>console|sh)\n(?P<text>.*?)^(?P=indent)```$")
_COMMENT = re.compile(r"(?m)\s+# .*$")


@dataclass(frozen=True, slots=True)
class Shown:
    """A command and the page that shows it, as a path from the root."""

    page: str
    command: str
    is_script: bool


def shown() -> Iterator[Shown]:
    """Yield the commands of all pages; lines that begin with blanks belong to the one before, comments are left out.

    Where a block has prompts (`$`), what follows a command is what it prints. A block marked `sh` is one script.
    """
    for page in [*PAGES, *sorted((ROOT / "examples").rglob("*.md"))]:
        for block in _SHELL.finditer(page.read_text(encoding="utf-8")):
            for command in _commands(block["kind"], dedent(block["text"])):
                text = _COMMENT.sub("", command).strip()
                yield Shown(str(page.relative_to(ROOT)), text, block["kind"] == "sh")


def _commands(kind: str, text: str) -> list[str]:
    if kind == "sh":
        return [text]
    if text.startswith("$ "):
        return [each.partition("\n")[0] for each in re.split(r"(?m)^\$ ", text)[1:]]
    return re.findall(r"(?m)^(?:\w+=\$\(.*\n)?\S.*(?:\n[ ].*)*", text)


ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    # What a test runs, word for word or with other names: a pattern of the command, the test, and what stands in
    # that test: words of the command (a number is a group of the pattern), or the page that the command is taken from.
    r"make (demo)": ("e2e/test_demo.py", r"\1"),
    r"(pip) (install) (.)": ("contracts/test_package.py", r"\1", r"\2", r"\3"),
    r"(make) (release) .*": ("contracts/test_release.py", r"\1", r"\2", "registry.example.com/mail/mailtls"),
    r"make (upgrade) FROM=.*": ("e2e/test_upgrade.py", r"\1"),
    r"helm upgrade mailtls .* --reset-then-reuse-values --set .*": ("e2e/upgrade_ways.py", "upgrade.md"),
    r"helm rollback mailtls .*": ("e2e/upgrade_ways.py", "upgrade.md"),
    r"(kubectl kustomize \.) .*": ("e2e/upgrade_ways.py", r"\1"),
    r"mailtls (probe) 127.0.0.1:10246 (--server-name) .*": ("functional/test_cli_probe.py", r"\1", r"\2", "README.md"),
    r"(cat \*\.yaml \| |kubectl )?mailtls (preflight) (mx\.yaml|-)": ("e2e/test_commands.py", r"\2"),
    r"mailtls (status|renew|rollback|probe-now) (mx)( --wait)?": ("e2e/test_commands.py", r"\1", r"\2", r"\3"),
    r"(kubectl )?mailtls (rollout) (pause|resume|approve) (-n mail )?mx": ("e2e/test_permission.py", r"\2", r"\3"),
    r"helm (test) (mailtls) .*": ("e2e/test_uninstall.py", r"\1", r"\2"),
    r"kubectl mailtls (init) -n mail (--dns-name) .*": ("e2e/test_examples.py", r"\1", r"\2"),
    r"(kubectl )?(mailtls) (page)": ("functional/test_cli_page.py", r"\2", r"\3"),
    r"curl -H .Authorization: (Bearer) .*(&format=json).": ("e2e/test_status_page.py", r"\1", r"\2"),
    r"kubectl mailtls (bundle) .*": ("functional/test_cli_bundle.py", r"\1"),
    r"(curl) (-sI) http://mx1.example.com(/.well-known/acme-challenge/test)": (
        "e2e/test_http01_pod.py",
        r"\1",
        r"\2",
        r"\3",
    ),
    r"(pdnsutil) .*": ("functional/nameservers.py", r"\1", "dns-01.md"),
    r"kubectl (annotate crd) mailservertls.mailtls.dev .*": ("e2e/test_uninstall.py", r"\1", "uninstall.md"),
    r"#!/bin/bash.*zmcertmgr.*": ("e2e/test_mail_images.py", "zimbra.md"),
    r"kubectl (apply) -f examples/(behind-haproxy|postfix-and-dovecot|postfix)/.*": (
        "e2e/test_examples.py",
        r"\1",
        r"\2",
    ),
    r"kubectl (apply) -f examples/(stalwart|mailu|docker-mailserver)/.*": ("contracts/test_examples.py", r"\1"),
    r"kubectl( -n mail get mst| mailtls status -n mail (?!mx).*)": (
        "e2e/test_common_problems.py",
        "common-problems.md",
    ),
    r"(MAILTLS_PROBE_PASSWORD=\S+ )?mailtls probe mx\d.example.com --port 587.*": (
        "e2e/test_common_problems.py",
        "common-problems.md",
    ),
}
FOLLOWED = {
    # pages whose scripts are followed from top to bottom
    "docs/tutorials/kind.md": "e2e/test_migration.py",
    "docs/how-to/external.md": "e2e/test_migration.py",
    "docs/how-to/from-a-hand-made-secret.md": "e2e/test_migration.py",
    "docs/how-to/from-cert-manager.md": "e2e/test_migration.py",
    "docs/how-to/from-certbot.md": "e2e/test_migration.py",
    "docs/how-to/from-external-secrets.md": "e2e/test_migration.py",
}
NOT_RUN = {
    # why no test can run it: a pattern of the command, and the reason
    r"make test": "it is what runs the tests",
    r"make (docs|docs-serve|kubectl|cluster-down)( .*)?": "a target of the Makefile around what tests call themselves",
    r"tar -xzf dist/.*|PYTHONPATH=packaging python -m docsite.versions .*": "writes into /srv",
    r"kind .*|printf 'FROM .*|sed 's#registry.*": "a cluster of kind needs Docker",
    r"docker (build|push|save|image rm) .*|rm (mailtls.tar|ca.crt) .*": "the tests build the image without Docker",
    r"helm (repo add|install \w+ (docker-mailserver|mailu)/).*": "the chart is somebody else's, on the internet",
    r"kubectl exec -n mail deploy/mail-docker-mailserver .*": "needs docker-mailserver's own image",
    r"helm upgrade .*kube-prometheus-stack/values.yaml": "contracts/test_examples.py renders the chart with it",
    r"flux get .*": "needs Flux",
    r"kubectl (apply -f examples/(argo-cd|flux)/|-n argocd ).*": "needs Argo CD or Flux",
    r"kubectl describe mst (mail|mailu) -n mail": "another name in a command that is run",
    r"kubectl logs -n mail deploy/mailu-front .*": "needs all of Mailu",
    r"kubectl -n mail (logs|port-forward) stalwart-0.*": "needs Stalwart's own image",
    r"kubectl create namespace .*": "each test has a namespace already",
    r"kubectl delete crd .*": "the tests share the CustomResourceDefinition",
    r"kubectl -n mailtls top pods": "needs the metrics server",
    r"kubectl -n mailtls logs .* --previous": "needs a container that was started again",
    r"chronyc tracking": "needs chrony on the node",
    r"tsig-keygen .*|chown root:bind .*": "writes into /etc/bind",
    r"mailtls --install-completion": "writes into files of the shell; contracts/test_package.py prints the same",
}
