"""Say which packages of the lock have known advisories, by pip-audit's JSON on standard input.

Exit status: 0 none known, 1 some, 2 no database answered for some package, so nothing is known.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any


def lines(report: dict[str, Any]) -> Iterator[str]:
    """Yield one line an advisory, with the version that mends it."""
    for package in report["dependencies"]:
        for found in package.get("vulns", ()):
            mended = ", ".join(found.get("fix_versions") or ()) or "no release"
            name, version = package["name"], package["version"]
            yield f"{name} {version}: {found['id']}; mended in {mended}"


def main() -> int:
    """Read a report and tell it."""
    text = sys.stdin.read()
    if not text.strip():
        sys.stdout.write("pip-audit said nothing: no database of advisories could be reached.\n")
        return 2
    report = json.loads(text)
    found = list(lines(report))
    skipped = [each["name"] for each in report["dependencies"] if "skip_reason" in each]
    sys.stdout.writelines(f"{line}\n" for line in found)
    if found:
        sys.stdout.write(f"{len(found)} advisories: see docs/soup.md, then `make lock`.\n")
        return 1
    if skipped:
        sys.stdout.write(
            f"Of {len(skipped)} packages no advisories were had ({skipped[0]}, …): an index that"
            " is unreachable or tells none is no clean bill. Run it where pypi.org answers.\n"
        )
        return 2
    sys.stdout.write(f"No advisory for any of {len(report['dependencies'])} packages.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
