"""Print, of a lock with hashes, what an installation needs: ``pins.py LOCK REPORT``.

REPORT is what ``pip install --dry-run --report`` wrote. Exits with 1 where the lock lacks some.
"""

import json
import re
import sys
from pathlib import Path

_PINNED = re.compile(r"^([\w.-]+)==\S+ \\\n(?:    --hash=\S+(?: \\)?\n)+", re.MULTILINE)


def canonical(name: str) -> str:
    """Return a distribution's name as indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str, wanted: set[str]) -> tuple[str, set[str]]:
    """Return the part of a lock that pins ``wanted``, and what it does not pin."""
    found = {canonical(each[1]): each[0] for each in _PINNED.finditer(lock)}
    return "".join(found[name] for name in sorted(wanted & set(found))), wanted - set(found)


def main() -> int:
    """Print the pins."""
    lock, report = (Path(path).read_text("utf-8") for path in sys.argv[1:3])
    names = {canonical(each["metadata"]["name"]) for each in json.loads(report)["install"]}
    told, missing = pins(lock, names - {"dicom-node"})
    print(told, end="")
    for name in sorted(missing):
        print(f"{name} is not in the lock: run `make lock`", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
