"""The bill of materials of a package (SBOM): CycloneDX as JSON, which vulnerability scanners read. [doc CycloneDX
1.6]"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.utils import canonicalize_name


def materials(package: Path, digests: Mapping[str, str], digest: str) -> dict[str, Any]:
    """The bill of materials of a package folder: link-peer, with the SHA-256 of the zip, and each distribution that the
    folder has metadata of, with the SHA-256 of the archive that it was installed from.

    The same package has the same bill: it has neither a time nor a random serial number, which CycloneDX lets be
    absent.
    """
    product = _component("link-peer", version("link-peer"), digest, ComponentType.APPLICATION)
    parts = [
        _component(name, distribution.version, digests[name])
        for distribution in distributions(path=[str(package)])
        if (name := canonicalize_name(distribution.metadata["Name"]))
    ]
    bom = Bom(components=parts)
    bom.metadata.component = product
    bom.register_dependency(product, parts)
    bill: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    del bill["serialNumber"], bill["metadata"]["timestamp"]
    return bill


def _component(name: str, released: str, digest: str, kind: ComponentType = ComponentType.LIBRARY) -> Component:
    purl = PackageURL("pypi", name=name, version=released)
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest)]
    return Component(type=kind, name=name, version=released, purl=purl, bom_ref=str(purl), hashes=hashes)
