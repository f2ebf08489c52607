"""The operator as a user has it: installed by the chart, running as a pod, for one test's namespace."""

from pathlib import Path
from typing import Any

import yaml

from contracts.render import helm_template
from testbed.layout import NODE_ADDRESS, POD_RANGE, SERVICE_RANGE
from testbed.pebble import Pebble
from testbed.sandbox import Sandbox
from testbed.zones import Zone


def install(sandbox: Sandbox, values: dict[str, Any], folder: Path) -> str:
    """Install the chart into the sandbox, for the sandbox only; returns the address of its metrics."""
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    done = helm_template(
        "--values",
        str(folder / "values.yaml"),
        "--namespace",
        sandbox.name,
        "--set",
        "crds.enabled=false",
        "--no-hooks",
    )
    assert done.returncode == 0, done.stderr
    sandbox.apply(done.stdout)
    sandbox.wait_for("deployments.apps", "mailtls", lambda seen: bool(seen and seen["status"].get("readyReplicas")))
    return str(sandbox.get("services", "mailtls-metrics")["spec"]["clusterIP"]) + ":8080"


def values_for(sandbox: Sandbox, zone: Zone, pebble: Pebble, email: str) -> dict[str, Any]:
    """Return values that order from this Pebble, validate by this zone, and trust what Pebble issues."""
    rfc2136 = {
        "server": zone.server,
        "tsigKeyName": zone.key.name,
        "tsigAlgorithm": zone.key.algorithm,
        "tsigSecretRef": {"name": "tsig", "key": "secret"},
    }
    return {
        "image": {"repository": "localhost/mailtls", "tag": "dev"},
        "watchNamespaces": [sandbox.name],
        "acme": {
            "server": pebble.directory_url,
            "email": email,
            "caBundle": {"inline": pebble.authority.read_text()},
            "solvers": [{"dns01": {"rfc2136": rfc2136}}],
        },
        "trust": {"inline": pebble.root()},
        "connections": {"allowedNetworks": [NODE_ADDRESS, SERVICE_RANGE, POD_RANGE]},
    }
