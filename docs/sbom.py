"""Write the bill of materials: what `pip install dicom-node` brings, by the lock, as CycloneDX.

With ``--check``, say whether it is stale. It names no moment and nothing of this machine, so that
the same lock gives the same file; the wheel carries it (PEP 770).
"""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution
from pathlib import Path
from types import ModuleType

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

import dicom_node

ROOT = Path(__file__).parents[1]
LOCK, SBOM = ROOT / "requirements.lock", ROOT / "sbom.cdx.json"
_PINNED = re.compile(r"^([\w.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M)
_NAMESPACE = uuid.UUID("8f0c4b0e-4f6e-5d0b-9f5e-0d1c0a6d5e11")


def _built() -> ModuleType:
    """Return `docs/build.py`, which knows what the default install brings."""
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pinned(lock: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield name, version and SHA-256 digests of the files of each package of the lock."""
    for name, version, hashes in _PINNED.findall(lock):
        digests = tuple(re.findall(r"sha256:([0-9a-f]{64})", hashes))
        yield _canonical(name), version, digests


def sbom(lock: str) -> str:
    """Return the bill of materials of the default install by the text of a lock."""
    build = _built()
    installed: Mapping[str, Distribution] = build.runtime_distributions()
    licences, ours = LicenseFactory(), "dicom-node"
    whole = Component(
        name=ours, version=dicom_node.__version__, type=ComponentType.APPLICATION,
        bom_ref=ours, purl=PackageURL("pypi", None, ours, dicom_node.__version__),
        licenses=[licences.make_from_string("Apache-2.0")],
    )  # fmt: skip
    bom = Bom(serial_number=uuid.uuid5(_NAMESPACE, lock + dicom_node.__version__))
    bom.metadata.timestamp = None  # type: ignore[assignment] - the same lock, the same file
    bom.metadata.component = whole
    parts: dict[str, Component] = {}
    for name, version, digests in pinned(lock):
        if name not in installed:
            continue  # an extra, or for development alone
        parts[name] = Component(
            name=name, version=version, type=ComponentType.LIBRARY, bom_ref=f"{name}=={version}",
            scope=ComponentScope.REQUIRED, purl=PackageURL("pypi", None, name, version),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in digests],
            licenses=[licences.make_from_string(build.licence_of(installed[name]))],
            properties=[Property(name="dicom-node:hashes", value="of every file of the release")],
        )  # fmt: skip
        bom.components.add(parts[name])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    bom.register_dependency(whole, _named(project["dependencies"], parts))
    for name, part in parts.items():
        wanted = [line for line in installed[name].requires or () if "extra ==" not in line]
        bom.register_dependency(part, _named(wanted, parts))
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _named(requirements: Iterable[str], parts: Mapping[str, Component]) -> list[Component]:
    """Return the parts that requirements name; what is for other platforms is no part."""
    names = {_canonical(re.split(r"[^\w.\-]", line, maxsplit=1)[0]) for line in requirements}
    return [parts[name] for name in sorted(names) if name in parts]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    """Write or check the file; 1 where it is stale."""
    text = sbom(LOCK.read_text("utf-8"))
    if "--check" not in sys.argv:
        SBOM.write_text(text, "utf-8")
        return 0
    if not SBOM.is_file() or SBOM.read_text("utf-8") != text:
        sys.stderr.write("sbom.cdx.json is not of this lock. Run: python docs/sbom.py\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
