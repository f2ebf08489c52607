"""The bill of materials, in SPDX 2.3: the package, and each package of requirements.lock that it is shipped with."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from release.licences import Dependency

_ROOT = "SPDXRef-mailtls"


def bill_of_materials(
    version: str, shipped: Sequence[Dependency], *, wheel: Path, base: str | None, epoch: int, homepage: str
) -> str:
    """Return the document; its namespace is made from its content, so that the same content has the same name."""
    packages = [_own(version, wheel, homepage), *(_package(each) for each in shipped)]
    relationships = [_relation("SPDXRef-DOCUMENT", "DESCRIBES", _ROOT)]
    relationships += [_relation(_ROOT, "DEPENDS_ON", each["SPDXID"]) for each in packages[1:]]
    if base is not None:
        packages.append(_base(base))
        relationships.append(_relation(_ROOT, "DEPENDS_ON", "SPDXRef-base-image"))
    content = hashlib.sha256(json.dumps(packages, sort_keys=True).encode()).hexdigest()
    created = dt.datetime.fromtimestamp(epoch, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"mailtls-{version}",
        "documentNamespace": f"{homepage}/spdx/mailtls-{version}-{content[:16]}",
        "creationInfo": {"created": created, "creators": [f"Tool: mailtls-release-{version}"]},
        "packages": packages,
        "relationships": relationships,
    }
    return json.dumps(document, indent=2) + "\n"


def _own(version: str, wheel: Path, homepage: str) -> dict[str, Any]:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return {
        "name": "mailtls",
        "SPDXID": _ROOT,
        "versionInfo": version,
        "packageFileName": wheel.name,
        "checksums": [{"algorithm": "SHA256", "checksumValue": digest}],
        "downloadLocation": f"{homepage}/releases/download/v{version}/{wheel.name}",
        "filesAnalyzed": False,
        "licenseConcluded": "Apache-2.0",
        "licenseDeclared": "Apache-2.0",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "APPLICATION",
    }


def _package(each: Dependency) -> dict[str, Any]:
    locator = f"pkg:pypi/{re.sub(r'[-_.]+', '-', each.name).lower()}@{each.version}"
    return {
        "name": each.name,
        "SPDXID": f"SPDXRef-python-{re.sub(r'[^A-Za-z0-9.-]', '-', each.name)}",
        "versionInfo": each.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": each.licence,
        "copyrightText": "NOASSERTION",
        "externalRefs": [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": locator},
        ],
    }


def _base(base: str) -> dict[str, Any]:
    name, _, digest = base.partition("@sha256:")
    return {
        "name": name,
        "SPDXID": "SPDXRef-base-image",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        **({"checksums": [{"algorithm": "SHA256", "checksumValue": digest}]} if digest else {}),
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "CONTAINER",
    }


def _relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
