"""Preflight says beforehand what the installation's account and solvers do not serve."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mailtls.api.installation import AllowedNames
from mailtls.api.reading.acme import default_acme
from mailtls.api.reading.spec import Defaults
from mailtls.cli.preflight.checks import preflight
from mailtls.cli.preflight.place import Place
from mailtls.issuance.solvers.registry import SOLVERS

_INSTALLATION = default_acme({"server": "letsencrypt", "solvers": [{"http01": {}}]}, "mailtls", SOLVERS)
_RULES = (AllowedNames(("mail",), ("*.example.com",)),)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"dnsNames": ["mx.corp.example"]}, "NameNotAllowed"),
        ({"dnsNames": ["mx.example.com"], "acme": {"email": "me@example.com"}}, "NoSolver"),
    ],
)
def test_preflight_names_what_the_installation_does_not_serve(spec: dict[str, Any], reason: str) -> None:
    """The same reason and sentence as the condition would have, and no look at DNS or the CA."""
    place = Place(datetime(2026, 1, 1, tzinfo=UTC), defaults=Defaults(SOLVERS, _INSTALLATION, _RULES))
    resource = {
        "apiVersion": "mailtls.dev/v1alpha1",
        "kind": "MailServerTLS",
        "metadata": {"name": "mx", "namespace": "mail"},
        "spec": spec,
    }
    last = list(preflight(resource, place))[-1]
    assert (last.topic, last.reason) == ("spec", reason)
