"""A preset is one entry of a table: the CRD and the documentation say of it what the table says."""

import pytest

from contracts.manifests import fields, schema
from contracts.snippets import page_text
from mailtls.api.presets import PRESETS, Preset
from mailtls.probe.target import Port, TlsMode
from mailtls.reasons.software import Software, product_name

NODES = dict(fields(schema()["properties"]["spec"], "spec"))
NAMED = [software for software in Software if software is not Software.GENERIC]


def test_each_software_has_a_preset() -> None:
    """What the schema allows is in the table."""
    assert set(PRESETS) == set(Software)


@pytest.mark.parametrize("software", Software)
def test_preset_is_described_in_the_schema(software: Software) -> None:
    """Whoever runs `kubectl explain` learns what each word stands for."""
    assert software in NODES["spec.workloads[].preset"]["description"].replace(",", " ").replace(".", " ").split()


@pytest.mark.parametrize("software", Software)
def test_preset_without_command_is_refused_at_apply(software: Software) -> None:
    """The schema has the parser's own sentence; a preset with a command has no such rule."""
    rules = NODES["spec.workloads[]"]["x-kubernetes-validations"]
    said = [rule["message"] for rule in rules if f"'{software}'" in rule["rule"] and rule["fieldPath"] == ".reload"]
    preset = PRESETS[software]
    assert said == ([preset.no_reload] if preset.no_reload else [])
    assert bool(preset.reload) is not bool(preset.no_reload)
    (of_daemons,) = (rule["rule"] for rule in rules if "each.preset in" in rule["rule"])
    assert (f"'{software}'" in of_daemons) is not bool(preset.reload)


@pytest.mark.parametrize("software", NAMED)
def test_preset_has_its_row_and_its_section_in_the_documentation(software: Software) -> None:
    """Ports as the probe uses them, and the command, or that only a restart helps."""
    page = page_text("other-servers.md")
    preset = PRESETS[software]
    (row,) = (line for line in page.splitlines() if line.startswith(f"| `{software}` |"))
    _, _, ports, how, _ = row.split("|")
    assert ports.strip() == ", ".join(_groups(preset.ports))
    assert preset.reload[-1].rpartition("; ")[2] in how if preset.reload else _strategy(preset) in how
    assert software is Software.POSTFIX or f"\n## {product_name(software)}\n" in page


def _strategy(preset: Preset) -> str:
    return f"`updateStrategy: {'Restart' if 'Restart' in preset.no_reload else 'None'}`"


def _groups(ports: tuple[Port, ...]) -> list[str]:
    """`25 and 587 StartTLS, 465 Implicit`: a reader sees at once which ports are of a kind."""
    groups: dict[tuple[TlsMode, str], list[str]] = {}
    for port in ports:
        protocol = "" if all(each.protocol == "smtp" for each in ports) else f" ({port.protocol})"
        groups.setdefault((port.tls_mode, protocol), []).append(str(port.port))
    return [f"{' and '.join(numbers)} {mode}{protocol}" for (mode, protocol), numbers in groups.items()]
